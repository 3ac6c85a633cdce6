//! Installs and unpacks Debian packages, and prepares Debian's cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::step::{Failed, Step};

/// A package and what it is needed for.
pub(crate) type Need = (&'static str, &'static str);

/// Installs the missing packages, after printing their names and purposes. `purpose` is a sentence for that message;
/// `alternative` is the advice for systems other than Debian.
pub(crate) fn install(purpose: &str, needs: &[Need], alternative: &str) -> Result<(), Failed> {
    let missing: Vec<Need> = needs.iter().copied().filter(|(package, _)| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("{purpose} These Debian packages are missing and are now installed:");
    for (package, reason) in &missing {
        eprintln!("  {package:<28} {reason}");
    }
    let packages: Vec<&str> = missing.iter().map(|(package, _)| *package).collect();
    let line = format!(
        "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {}",
        packages.join(" ")
    );
    if !succeeds("apt-get", &["--version"]) {
        return Err(Failed(format!(
            "apt-get is not installed. Install {} in another way, or {alternative}; then run this command again",
            packages.join(", ")
        )));
    }
    as_root("install", &line)
}

/// Runs a line in a shell as root.
fn as_root(title: &str, line: &str) -> Result<(), Failed> {
    let shell = if is_root() {
        vec!["sh", "-c"]
    } else if succeeds("sudo", &["-n", "true"]) {
        vec!["sudo", "-n", "sh", "-c"]
    } else {
        return Err(Failed(format!(
            "{title}: this needs root, and this user has no passwordless sudo. Run this line as root, then run this \
             command again:\n\n  {line}"
        )));
    };
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(line).stdin(Stdio::null());
    Step::new(title, &mut command).run()
}

/// Returns the newest version of a package that begins with this text, from the lists that apt has.
fn offered(package: &str, version: &str) -> Option<String> {
    let output = Command::new("apt-cache").args(["madison", package]).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut versions = text.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
    versions.find(|found| found.starts_with(version)).map(str::to_owned)
}

/// Returns the first of these packages that apt offers in a version that begins with this text, and that version.
/// Updates apt's lists if they have none.
pub(crate) fn find<'a>(packages: &[&'a str], version: &str) -> Result<Option<(&'a str, String)>, Failed> {
    let find = || packages.iter().find_map(|package| Some((*package, offered(package, version)?)));
    match find() {
        None if succeeds("apt-get", &["--version"]) => {
            as_root("update the lists of packages", "apt-get update")?;
            Ok(find())
        }
        found => Ok(found),
    }
}

/// Downloads packages and the packages that they depend on, except those that are installed, and unpacks all into a
/// folder. Nothing is installed. A package can be followed by `=` and its version.
pub(crate) fn unpack(packages: &[String], folder: &Path) -> Result<(), Failed> {
    let archives = empty_archives(folder)?;
    let mut download = Command::new("apt-get");
    download.args(["install", "--download-only", "--yes", "--no-install-recommends", "--allow-downgrades"]);
    // Without a lock, the download needs no root.
    download.args(["--quiet", "--option", "Debug::NoLocking=1", "--option"]);
    download.arg(format!("Dir::Cache::archives={}", archives.display())).args(packages).stdin(Stdio::null());
    Step::new("download", &mut download).run()?;
    unpack_all(&archives, folder)
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

fn remove(folder: &Path) -> Result<(), Failed> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failed::at(folder)(error)),
        _ => Ok(()),
    }
}

/// Creates the empty folder for the archives that are unpacked to this folder.
fn empty_archives(folder: &Path) -> Result<PathBuf, Failed> {
    let archives = with(folder, ".debs");
    remove(&archives)?;
    std::fs::create_dir_all(archives.join("partial")).map_err(Failed::at(&archives))?;
    Ok(archives)
}

/// Unpacks all archives into a folder, which exists only when it is complete, and removes them.
fn unpack_all(archives: &Path, folder: &Path) -> Result<(), Failed> {
    let unpacked = with(folder, ".part");
    remove(&unpacked)?;
    for entry in std::fs::read_dir(archives).map_err(Failed::at(archives))? {
        let archive = entry.map_err(Failed::at(archives))?.path();
        if archive.extension().is_some_and(|end| end == "deb") {
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("--extract").arg(&archive).arg(&unpacked);
            Step::new("unpack", &mut unpack).run()?;
        }
    }
    std::fs::rename(&unpacked, folder).map_err(Failed::at(folder))?;
    remove(archives)
}

/// The packages of one of Debian's releases, which need not be this machine's.
#[derive(Debug)]
pub(crate) struct Release {
    /// Options that make apt read this release's lists instead of this machine's.
    options: Vec<String>,
}

impl Release {
    /// Downloads the lists of a release into a folder, from the mirror that this machine uses.
    pub(crate) fn ready(name: &str, folder: &Path) -> Result<Self, Failed> {
        const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let mut query = Command::new("apt-get");
        query.args(["indextargets", "--format", "$(SITE)", "Origin: Debian"]);
        let output = query.output().map_err(|error| Failed(format!("cannot run apt-get: {error}")))?;
        let sites = String::from_utf8_lossy(&output.stdout);
        // The mirror of security updates has another layout.
        let site = sites.lines().find(|site| !site.contains("security"));
        let site = site.ok_or_else(|| Failed("apt knows no mirror of Debian".into()))?;
        let list = folder.join("sources.list");
        std::fs::create_dir_all(folder.join("lists/partial")).map_err(Failed::at(folder))?;
        std::fs::write(&list, format!("deb [signed-by={KEYS}] {site} {name} main\n"))
            .map_err(Failed::at(&list))?;
        let options = [
            format!("Dir::Etc::sourcelist={}", list.display()),
            "Dir::Etc::sourceparts=/dev/null".into(),
            format!("Dir::State::lists={}", folder.join("lists").display()),
            format!("Dir::Cache={}", folder.display()),
            "Debug::NoLocking=1".into(),
        ];
        let options = options.into_iter().flat_map(|option| ["--option".into(), option]).collect();
        let this = Self { options };
        Step::new("lists of packages", Command::new("apt-get").args(&this.options).arg("update")).run()?;
        Ok(this)
    }

    /// Returns the first package with this beginning that a package depends on.
    pub(crate) fn dependency(&self, package: &str, beginning: &str) -> Result<String, Failed> {
        let output = Command::new("apt-cache").args(&self.options).args(["depends", package]).output();
        let output = output.map_err(|error| Failed(format!("cannot run apt-cache: {error}")))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut found = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let found = found.find(|name| name.starts_with(beginning));
        found.map(str::to_owned).ok_or_else(|| Failed(format!("{package} depends on no {beginning}")))
    }

    /// Downloads a package, without its dependencies, and unpacks it into a folder. Nothing is installed.
    pub(crate) fn unpack(&self, package: &str, folder: &Path) -> Result<(), Failed> {
        let archives = empty_archives(folder)?;
        // apt-get downloads to the current folder.
        let mut download = Command::new("sh");
        download.args(["-c", "cd \"$0\" && exec apt-get \"$@\""]).arg(&archives);
        download.args(&self.options).args(["download", package]).stdin(Stdio::null());
        Step::new("download", &mut download).run()?;
        unpack_all(&archives, folder)
    }
}

/// Fails unless this is Linux on x86-64, for which the packages are.
pub(crate) fn check_machine() -> Result<(), Failed> {
    if (std::env::consts::OS, std::env::consts::ARCH) == ("linux", "x86_64") {
        return Ok(());
    }
    Err(Failed(
        "this command needs Linux on x86-64, because it uses programs of Debian for that system".into(),
    ))
}

/// Returns a command that runs the cargo of Debian's Rust, which can build std from source.
pub(crate) fn cargo() -> Command {
    let mut cargo = cargo_in(Path::new("/usr/bin"));
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo
}

/// Returns a command that runs the cargo in this folder of a Rust toolchain, with the rustc beside it.
pub(crate) fn cargo_in(programs: &Path) -> Command {
    let mut cargo = Command::new(programs.join("cargo"));
    // rustup's proxies are often first in PATH, and the variables that they set name the wrong compiler.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(programs.to_path_buf()).chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(paths) {
        cargo.env("PATH", path);
    }
    for key in ["CARGO", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTUP_TOOLCHAIN", "RUSTUP_HOME"] {
        cargo.env_remove(key);
    }
    cargo.env("RUSTC", programs.join("rustc")).env("RUSTDOC", programs.join("rustdoc"));
    cargo
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Whether a program is installed and exits successfully with these arguments.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
