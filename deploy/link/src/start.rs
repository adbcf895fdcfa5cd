//! Which functions a start of the server calls, in the order in which it first calls them. It has a connection and a model, and
//! is asked whether it is ready: a service of the linker's own answers it.
//!
//! Each begins with a breakpoint, which is taken away when it is hit.

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    libc::PTRACE_EVENT_EXEC,
    sys::{
        ptrace::{self, Options},
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

/// The instruction `int3`.
const BREAKPOINT: u8 = 0xcc;
/// Until it listens; every function costs two switches.
const PATIENCE: Duration = Duration::from_secs(180);
/// What it does in its first seconds at rest belongs to the start.
const REST: Duration = Duration::from_secs(5);
/// A start calls thousands.
const LEAST: usize = 1_000;

pub fn functions(program: &Path) -> Result<Vec<String>> {
    let symbols = symbols(program)?;
    let place = tempfile::tempdir()?;
    let mut process = start(program, place.path(), service()?)?;
    let pid = Pid::from_raw(process.id().cast_signed());
    let (done, is_done) = channel();
    let address = place.path().join("data/address");
    let timer = thread::spawn(move || wait_and_end(pid, &address, &is_done));
    let called = follow(pid, program, &symbols, &mut process);
    drop(done);
    let _ = process.kill();
    let _ = process.wait();
    let did_listen = timer.join().unwrap_or(false);
    let called = called?;
    if !did_listen || called.len() < LEAST {
        bail!("it did not start within {PATIENCE:?}, and called {} functions", called.len());
    }
    Ok(called)
}

/// Functions by their addresses in the file.
fn symbols(program: &Path) -> Result<BTreeMap<u64, String>> {
    let listed = Command::new("readelf").args(["--syms", "--wide"]).arg(program).output().context("no `readelf`")?;
    let mut symbols = BTreeMap::new();
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        // Number, address, size, type, binding, visibility, section, name.
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, address, size, "FUNC", _, _, section, name] = words[..]
            && size != "0"
            && section != "UND"
            && let Ok(address) = u64::from_str_radix(address, 16)
        {
            symbols.insert(address, name.to_owned());
        }
    }
    if symbols.is_empty() {
        bail!("it has no symbols");
    }
    Ok(symbols)
}

/// Answers whatever it is asked.
fn service() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream);
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let _ = stream.read(&mut [0; 8192])?;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close";
    stream.write_all(format!("{head}\r\n\r\n{{}}").as_bytes())
}

/// Asks the server whether it is ready.
fn ask(address: &Path) -> io::Result<()> {
    let mut stream = TcpStream::connect(fs::read_to_string(address)?.trim())?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

/// A shell that waits until it is told to become the server.
fn start(program: &Path, place: &Path, service: SocketAddr) -> Result<Child> {
    let program = program.canonicalize()?;
    let process = Command::new("/bin/sh")
        .args(["-c", r#"read -r go && exec "$0" serve"#])
        .arg(program)
        .current_dir(place)
        .env_clear()
        .env("HOME", place)
        .env("TERCEL_DATA_DIR", place.join("data"))
        .env("TERCEL_LISTEN", "127.0.0.1:0")
        .env("API_KEY", "a-key-of-a-server-that-only-this-asks")
        .env("LLM_BASE_URL", format!("http://{service}/v1"))
        .env("LLM_MODEL", "any")
        .env("GITHUB_API_URL", format!("http://{service}"))
        .env("GITHUB_TOKEN", "any-token")
        .env("GITHUB_WEBHOOK_SECRET", "any-secret-of-webhooks")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(process)
}

/// Ends the process some time after it listens. Whether it did.
fn wait_and_end(pid: Pid, address: &Path, is_over: &Receiver<()>) -> bool {
    let begun = Instant::now();
    let mut listens = None;
    while begun.elapsed() < PATIENCE && listens.is_none_or(|since: Instant| since.elapsed() < REST) {
        if address.exists() {
            listens = listens.or_else(|| Some(Instant::now()));
            // How it answers is a part of what a server at rest does.
            let _ = ask(address);
        }
        if is_over.recv_timeout(Duration::from_millis(20)) != Err(RecvTimeoutError::Timeout) {
            return false;
        }
    }
    let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
    listens.is_some()
}

/// Lets it run from one breakpoint to the next until it ends.
fn follow(pid: Pid, program: &Path, symbols: &BTreeMap<u64, String>, process: &mut Child) -> Result<Vec<String>> {
    let options = Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_EXITKILL;
    let program = program.canonicalize()?;
    ptrace::seize(pid, options).context("it cannot be looked at (ptrace)")?;
    process.stdin.take().context("its input is closed")?.write_all(b"go\n")?;
    let (mut called, mut seen) = (Vec::new(), HashSet::new());
    let mut planted: Option<Planted> = None;
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(status) => status,
            Err(Errno::EINTR) => continue,
            Err(Errno::ECHILD) => return Ok(called),
            Err(error) => return Err(error.into()),
        };
        // One that is gone meanwhile is no error: its end comes next.
        match status {
            WaitStatus::PtraceEvent(thread, _, PTRACE_EVENT_EXEC) => {
                if thread == pid && planted.is_none() {
                    // Else it is the shell, which may not have become one yet when it began to be looked at.
                    if fs::read_link(format!("/proc/{pid}/exe"))? == program {
                        planted = Some(Planted::plant(pid, &program, symbols)?);
                    }
                    let _ = ptrace::cont(thread, None);
                } else {
                    let _ = ptrace::detach(thread, None);
                }
            }
            WaitStatus::Stopped(thread, Signal::SIGTRAP) => {
                let mut registers = ptrace::getregs(thread)?;
                let at = registers.rip.wrapping_sub(1);
                let hit = planted.as_ref().map(|planted| planted.take_away(at)).transpose()?.flatten();
                if let Some(address) = hit {
                    registers.rip = at;
                    ptrace::setregs(thread, registers)?;
                    // Threads that hit it at once are all set back; it counts once.
                    if seen.insert(address) {
                        called.push(symbols[&address].clone());
                    }
                }
                let _ = ptrace::cont(thread, None);
            }
            WaitStatus::Stopped(thread, signal) => {
                let _ = ptrace::cont(thread, Some(signal));
            }
            WaitStatus::PtraceEvent(thread, ..) => {
                let _ = ptrace::cont(thread, None);
            }
            WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..) if thread == pid => return Ok(called),
            _ => {}
        }
    }
}

/// The breakpoints of a process.
struct Planted {
    memory: File,
    /// Where address 0 of the file lies.
    base: u64,
    /// What stood where a breakpoint was put.
    originals: HashMap<u64, u8>,
}

impl Planted {
    fn plant(pid: Pid, program: &Path, symbols: &BTreeMap<u64, String>) -> Result<Self> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let first = maps.lines().find(|line| program.to_str().is_some_and(|program| line.ends_with(program)));
        let base = first.and_then(|line| u64::from_str_radix(line.split_once('-')?.0, 16).ok());
        let base = base.context("the program is not in its own memory")?;
        let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"))?;
        let (first, last) = (symbols.keys().next().copied(), symbols.keys().next_back().copied());
        let (first, last) = first.zip(last).context("it has no symbols")?;
        let mut code = vec![0; usize::try_from(last - first)? + 1];
        memory.read_exact_at(&mut code, base + first)?;
        let mut originals = HashMap::new();
        for &address in symbols.keys() {
            let byte = &mut code[usize::try_from(address - first)?];
            originals.insert(address, std::mem::replace(byte, BREAKPOINT));
        }
        memory.write_all_at(&code, base + first)?;
        Ok(Self { memory, base, originals })
    }

    /// Takes the breakpoint away that lies there. Answers its address in the file.
    fn take_away(&self, at: u64) -> Result<Option<u64>> {
        let address = at.wrapping_sub(self.base);
        let Some(original) = self.originals.get(&address) else { return Ok(None) };
        self.memory.write_all_at(&[*original], at)?;
        Ok(Some(address))
    }
}
