//! Makes one environment: locked with hashes, and there only when it is complete.

use super::{Environments, Interpreter, Requirements, lock};
use crate::Ring;
use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Beside the environment; its presence says that all is installed.
pub const LOCK: &str = "lock.txt";

pub fn finished(directory: &Path) -> Option<PathBuf> {
    let program = directory.join("bin/python");
    (directory.join(LOCK).is_file() && program.exists()).then_some(program)
}

pub async fn install(
    environments: &Environments,
    key: &str,
    wanted: &Requirements,
    bare: &Interpreter,
    progress: &Ring,
) -> Result<(), String> {
    let _turn = environments.0.turns.acquire().await;
    let home = &environments.0.settings.directory;
    let place = home.join(key);
    let _making = lock::making(home).await?;
    let _alone = lock::alone(home.join(format!(".{key}.lock"))).await?;
    if finished(&place).is_some() {
        // Another process was faster.
        return Ok(());
    }
    let uv = environments.uv(bare, progress).await?.display().to_string();
    let work = home.join(format!(".{key}"));
    let failed = |error: std::io::Error| format!("{} cannot be written: {error}", work.display());
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).map_err(failed)?;
    let lock = work.join(LOCK);
    let python = bare.program.display().to_string();
    let base = &environments.0.base;
    match &wanted.file {
        None => fs::write(&lock, &base.locked).map_err(failed)?,
        Some((name, content)) => {
            progress.push(&format!("resolving {name}"));
            for (file, content) in [(*name, content), ("base.in", &base.names), ("base.txt", &base.locked)] {
                fs::write(work.join(file), content).map_err(failed)?;
            }
            resolve(environments, &uv, bare, name, &work, wanted, progress).await?;
        }
    }
    progress.push("installing packages");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).map_err(failed)?;
    let venv = place.display().to_string();
    let make = [&*uv, "venv", "--quiet", "--allow-existing", "--python", &python, &venv];
    environments.run(&make, &[&place], bare, progress).await?;
    let program = place.join("bin/python").display().to_string();
    let locked = lock.display().to_string();
    // Workers write no bytecode: what is not compiled here is compiled at every start.
    let mut command = vec![&*uv, "pip", "install", "--python", &program, "--compile-bytecode"];
    command.extend(["--require-hashes", "-r", &locked]);
    if wanted.wheels_only {
        command.extend(["--only-binary", ":all:"]);
    }
    let about = |reason| format!("The packages could not be installed: {reason}");
    environments.run(&command, &[&place], bare, progress).await.map_err(about)?;
    for_everybody(&place).map_err(failed)?;
    fs::copy(&lock, place.join(LOCK)).map_err(failed)?;
    fs::remove_dir_all(&work).map_err(failed)
}

/// Finds versions that go together. Those that the worker was tested with come first; a folder that wants others gets
/// them.
async fn resolve(
    environments: &Environments,
    uv: &str,
    bare: &Interpreter,
    name: &str,
    work: &Path,
    wanted: &Requirements,
    progress: &Ring,
) -> Result<(), String> {
    let python = &*bare.program.display().to_string();
    let path = |file: &str| work.join(file).display().to_string();
    let (asked, base, constraints, lock) = (path(name), path("base.in"), path("base.txt"), path(LOCK));
    let mut command =
        vec![uv, "pip", "compile", "--quiet", &asked, &base, "--generate-hashes", "--python", python, "-o", &lock];
    if wanted.wheels_only {
        command.extend(["--only-binary", ":all:"]);
    }
    let mut tested = command.clone();
    tested.extend(["--constraint", &constraints]);
    if environments.run(&tested, &[work], bare, progress).await.is_ok() {
        return Ok(());
    }
    let about = |reason| format!("{name} cannot be resolved: {reason}");
    environments.run(&command, &[work], bare, progress).await.map_err(about)
}

/// Users of integrations read it, whatever our own files are like.
fn for_everybody(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.mode();
    let more = if mode & 0o100 == 0 { 0o444 } else { 0o555 };
    if mode & more != more {
        fs::set_permissions(path, fs::Permissions::from_mode(mode | more))?;
    }
    if metadata.is_dir() {
        fs::read_dir(path)?.try_for_each(|entry| for_everybody(&entry?.path()))?;
    }
    Ok(())
}
