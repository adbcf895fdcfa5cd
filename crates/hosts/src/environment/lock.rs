//! Locks that hold between processes: a rehearsal uses the environments of the server beside it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

/// Shared by all that make something; who removes something has it alone.
const MAKING: &str = "making.lock";

/// Held while something is made below this directory.
pub async fn making(home: &Path) -> Result<File, String> {
    taken(home.join(MAKING), File::lock_shared).await
}

/// `None` while anybody makes something below this directory.
pub fn removing(home: &Path) -> Option<File> {
    let file = File::create(home.join(MAKING)).ok()?;
    file.try_lock().is_ok().then_some(file)
}

/// Waits until nobody else has this one.
pub async fn alone(path: PathBuf) -> Result<File, String> {
    taken(path, File::lock).await
}

async fn taken(path: PathBuf, lock: fn(&File) -> std::io::Result<()>) -> Result<File, String> {
    let words = format!("{} cannot be locked", path.display());
    let locked = move || {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = File::create(&path)?;
        lock(&file)?;
        Ok::<_, std::io::Error>(file)
    };
    let locked = tokio::task::spawn_blocking(locked).await.map_err(|error| error.to_string())?;
    locked.map_err(|error| format!("{words}: {error}"))
}
