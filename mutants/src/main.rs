//! Whether a test notices when the library is broken, for each of the ways to break it that cargo-mutants lists.
//!
//! cargo-mutants builds the library and links the tests anew for each mutant. Here all mutants are in one build, each
//! behind a switch, and each is tried with those tests alone that come by it: a hundred times as many in the same time.

mod breakage;
mod list;
mod page;
mod run;
mod switch;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use list::Mutant;
use run::{Ended, Test, Worker};
use tree::Tree;

const USAGE: &str = "\
mutants [--wine] [--file PART]… [--shard K/N] [--seconds S] [--patience S] [--again] [--jobs J]

  --wine       the Win32 library, under Wine
  --file PART  only mutants of files whose path has this part
  --shard K/N  only every Nth of them, from the Kth on; K begins with 0
  --seconds S  end after this time; the next run goes on from there
  --patience S ends with a mutant after this time; with --again, its tests are tried anew
  --again      also those that were tried before and not caught, if no reason is written for them
  --jobs J     tests that run at the same time
  --page       tries nothing, and makes the page of what is known
  --breakages  no mutants, but the mistakes in mutants/breakages.txt, into docs/verified/breakages.md

The page docs/verified/mutants.md is made from all that is known.";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    Linux,
    Wine,
}

impl System {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Wine => "wine",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Linux => Self::Wine,
            Self::Wine => Self::Linux,
        }
    }

    /// Whether a file of the library is compiled there.
    fn has(self, file: &str) -> bool {
        let other = match self {
            Self::Linux => ["/os/windows/", "/sys/windows/"],
            Self::Wine => ["/os/linux/", "/sys/linux/"],
        };
        !other.iter().any(|part| file.contains(part))
    }
}

#[derive(Debug)]
struct Wanted {
    system: System,
    parts: Vec<String>,
    shard: (usize, usize),
    until: Option<Instant>,
    patience: Option<Duration>,
    again: bool,
    breakages: bool,
    page: bool,
    jobs: usize,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wanted = match wanted(&words) {
        Ok(wanted) => wanted,
        Err(why) => {
            eprintln!("mutants: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Some(code) = apart(&words) {
        return code;
    }
    match all(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("mutants: {why}");
            ExitCode::FAILURE
        }
    }
}

fn wanted(words: &[String]) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        system: System::Linux,
        parts: vec![],
        shard: (0, 1),
        until: None,
        patience: None,
        again: false,
        breakages: false,
        page: false,
        jobs: 3,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        let number = |text: &str| text.parse::<usize>().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--wine" => wanted.system = System::Wine,
            "--again" => wanted.again = true,
            "--page" => wanted.page = true,
            "--breakages" => wanted.breakages = true,
            "--file" => wanted.parts.push(value()?.clone()),
            "--shard" => {
                let text = value()?;
                let (k, n) = text.split_once('/').ok_or(format!("{text} isn't K/N"))?;
                wanted.shard = (number(k)?, number(n)?.max(1));
            }
            "--seconds" => {
                wanted.until =
                    Some(Instant::now() + Duration::from_secs(value()?.parse().map_err(|_| "no time")?));
            }
            "--patience" => {
                wanted.patience = Some(Duration::from_secs(value()?.parse().map_err(|_| "no time")?));
            }
            "--jobs" => wanted.jobs = number(value()?)?.max(1),
            _ => return Err(format!("{word} isn't known")),
        }
    }
    Ok(wanted)
}

/// A broken library may kill or remove anything. So it runs where it sees no processes but its own, if this user may
/// make such a place.
fn apart(words: &[String]) -> Option<ExitCode> {
    const MARK: &str = "MUTANTS_ARE_APART";
    const PLACE: [&str; 4] = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    if std::env::var_os(MARK).is_some() {
        return None;
    }
    let works = Command::new("unshare").args(PLACE).arg("true").status().is_ok_and(|status| status.success());
    if !works {
        eprintln!("no place apart can be made; mutants run among all processes of this user");
        return None;
    }
    let program = std::env::current_exe().ok()?;
    // In this one's stead, so that who ends it ends all.
    // The first process there is the parent of all that are left behind, and a shell that waits for one waits for all.
    let shell = ["sh", "-c", "\"$0\" \"$@\"; exit $?"];
    let error =
        Command::new("unshare").args(PLACE).args(shell).arg(program).args(words).env(MARK, "1").exec();
    eprintln!("unshare: {error}");
    Some(ExitCode::FAILURE)
}

fn all(wanted: &Wanted) -> Result<(), String> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf(), PathBuf::from);
    let root = here.parent().ok_or("the tool has a folder")?.to_path_buf();
    let work = work_of(&root, wanted.system);
    fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    let tree = Tree { root: root.clone(), folder: work.join("tree"), system: wanted.system };
    if wanted.breakages {
        let _ = fs::remove_file(work.join("state.json"));
        let all = breakage::list(wanted.system)?;
        let built = tree.make(&BTreeMap::new())?;
        breakage::put(&tree, &all)?;
        let state = known(&tree, &work, built, all.len(), wanted)?;
        return breakage::try_all(&tree, &work, &all, &state, wanted);
    }
    let mutants: BTreeMap<usize, Mutant> =
        (1..).zip(list::all(&root, |file| wanted.system.has(file))?).collect();
    if wanted.page {
        let (results, _) = known_results(&root, &work.join("results.jsonl"), &mutants)?;
        return page::write(&root, wanted.system, &mutants, &results);
    }
    let state = ready(&tree, &work, &mutants, wanted)?;
    let results = try_each(&tree, &work, &mutants, &state, wanted)?;
    page::write(&root, wanted.system, &mutants, &results)
}

/// What is built and known of the unbroken library.
#[derive(Debug)]
struct State {
    programs: Vec<PathBuf>,
    tests: Vec<Test>,
    unviable: BTreeSet<usize>,
    unswitched: BTreeSet<usize>,
}

fn worker(tree: &Tree, work: &Path, programs: &[PathBuf], number: usize) -> Result<Worker, String> {
    let homes = [tree.folder.join("crates/handover"), tree.folder.join("tests")];
    Worker::new(work.join(format!("worker-{number}")), programs, homes, tree.system)
}

/// Builds, and runs each test once to see which mutants it comes by; or reads what an earlier run has found.
fn ready(
    tree: &Tree,
    work: &Path,
    mutants: &BTreeMap<usize, Mutant>,
    wanted: &Wanted,
) -> Result<State, String> {
    let fingerprint = tree.fingerprint()?;
    let file = work.join("state.json");
    if let Some(state) = read_state(&file, &fingerprint) {
        return Ok(state);
    }
    let built = tree.make(mutants)?;
    eprintln!("{} unviable, {} can't be switched", built.unviable.len(), built.unswitched.len());
    let state = known(tree, work, built, mutants.len(), wanted)?;
    write_state(&file, &fingerprint, &state)?;
    Ok(state)
}

/// Builds the tests, and finds out how long each takes and what it comes by.
fn known(
    tree: &Tree,
    work: &Path,
    built: tree::Built,
    highest: usize,
    wanted: &Wanted,
) -> Result<State, String> {
    let highest = highest + 1;
    let found = tree.programs()?;
    let programs: Vec<PathBuf> = found.iter().map(|(program, _)| program.clone()).collect();
    let first = worker(tree, work, &programs, 0)?;
    let mut tests = Vec::new();
    for (program, (_, is_unit)) in found.iter().enumerate() {
        for name in first.list(program, *is_unit)? {
            let (took, reaches) = (Duration::from_secs(5), BTreeSet::new());
            tests.push(Test { program, name, is_unit: *is_unit, took, reaches });
        }
    }
    first.end();
    eprintln!("{} tests in {} programs", tests.len(), programs.len());
    let left = Mutex::new(tests);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 0..wanted.jobs {
            let (left, done, programs) = (&left, &done, &programs);
            scope.spawn(move || {
                let Ok(worker) = worker(tree, work, programs, number) else { return };
                let seen = worker.folder.join("seen");
                loop {
                    let Some(mut test) = left.lock().expect("no panic").pop() else { break };
                    let mut ended = Ended::Never;
                    for _ in 0..3 {
                        let _ = fs::write(&seen, vec![0; highest]);
                        // Some tests play other users.
                        let _ = fs::set_permissions(&seen, fs::Permissions::from_mode(0o666));
                        let (how, took) = worker.run(&test, 0, Some(&seen));
                        (ended, test.took) = (how, took);
                        if ended == Ended::Well {
                            break;
                        }
                    }
                    if ended == Ended::Well {
                        let bytes = fs::read(&seen).unwrap_or_default();
                        test.reaches = (1..highest).filter(|id| bytes.get(*id) == Some(&1)).collect();
                        done.lock().expect("no panic").push(test);
                    } else {
                        eprintln!("left out, because it fails unbroken ({ended:?}): {}", test.name);
                    }
                }
                worker.end();
            });
        }
    });
    let tests = done.into_inner().expect("no panic");
    Ok(State { programs, tests, unviable: built.unviable, unswitched: built.unswitched })
}

fn write_state(file: &Path, fingerprint: &str, state: &State) -> Result<(), String> {
    let tests: Vec<Value> = state
        .tests
        .iter()
        .map(|test| {
            json!([
                test.program,
                test.name,
                test.is_unit,
                u64::try_from(test.took.as_millis()).unwrap_or(0),
                test.reaches
            ])
        })
        .collect();
    let value = json!({
        "fingerprint": fingerprint, "programs": state.programs, "tests": tests,
        "unviable": state.unviable, "unswitched": state.unswitched,
    });
    fs::write(file, value.to_string()).map_err(|error| format!("{}: {error}", file.display()))
}

fn number(value: &Value) -> usize {
    value.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default()
}

fn numbers(value: &Value) -> BTreeSet<usize> {
    value.as_array().into_iter().flatten().map(number).collect()
}

fn read_state(file: &Path, fingerprint: &str) -> Option<State> {
    let value: Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
    if value["fingerprint"] != fingerprint {
        return None;
    }
    let test = |value: &Value| Test {
        program: number(&value[0]),
        name: value[1].as_str().unwrap_or_default().to_owned(),
        is_unit: value[2] == true,
        took: Duration::from_millis(value[3].as_u64().unwrap_or_default()),
        reaches: numbers(&value[4]),
    };
    Some(State {
        programs: value["programs"]
            .as_array()?
            .iter()
            .filter_map(|path| Some(PathBuf::from(path.as_str()?)))
            .collect(),
        tests: value["tests"].as_array()?.iter().map(test).collect(),
        unviable: numbers(&value["unviable"]),
        unswitched: numbers(&value["unswitched"]),
    })
}

/// What became of a mutant.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) what: String,
    /// The test that has caught it.
    pub(crate) by: String,
    pub(crate) date: String,
    /// What its file was when it was tried.
    pub(crate) file: String,
}

/// FNV-1a, which is the same with each compiler.
fn hash(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

fn today() -> String {
    let output = Command::new("date").arg("+%Y-%m-%d").output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(crate) type Results = BTreeMap<String, Outcome>;

/// A mutant's name for good: its place in the file.
pub(crate) fn key(mutant: &Mutant) -> String {
    format!("{} {}", mutant.place(), mutant.name)
}

fn read_results(file: &Path) -> Results {
    let text = fs::read_to_string(file).unwrap_or_default();
    let of = |line: &str| {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Some((
            text("mutant"),
            Outcome { what: text("what"), by: text("by"), date: text("date"), file: text("file") },
        ))
    };
    text.lines().filter_map(of).collect()
}

/// What is known of these mutants on a system.
pub(crate) fn results_of(
    root: &Path,
    system: System,
    mutants: &BTreeMap<usize, Mutant>,
) -> Result<Results, String> {
    let path = work_of(root, system).join("results.jsonl");
    known_results(root, &path, mutants).map(|(results, _)| results)
}

fn work_of(root: &Path, system: System) -> PathBuf {
    root.join("target/mutants").join(system.name())
}

/// What is known of these mutants, and what their files are now.
fn known_results(
    root: &Path,
    path: &Path,
    mutants: &BTreeMap<usize, Mutant>,
) -> Result<(Results, BTreeMap<String, String>), String> {
    let mut hashes = BTreeMap::new();
    for mutant in mutants.values() {
        if !hashes.contains_key(&mutant.file) {
            let text = tree::read(&root.join(&mutant.file))?;
            // Tests that are added don't make a mutant another one.
            let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
            hashes.insert(mutant.file.clone(), hash(code));
        }
    }
    let mut results = read_results(path);
    // What was found out about another text is forgotten.
    let keys: BTreeMap<String, &Mutant> = mutants.values().map(|mutant| (key(mutant), mutant)).collect();
    results.retain(|key, outcome| keys.get(key).is_some_and(|mutant| outcome.file == hashes[&mutant.file]));
    Ok((results, hashes))
}

fn try_each(
    tree: &Tree,
    work: &Path,
    mutants: &BTreeMap<usize, Mutant>,
    state: &State,
    wanted: &Wanted,
) -> Result<Results, String> {
    let path = work.join("results.jsonl");
    let (mut results, hashes) = known_results(&tree.root, &path, mutants)?;
    let date = today();
    let outcome = |mutant: &Mutant, what: &str, by: &str| Outcome {
        what: what.to_owned(),
        by: by.to_owned(),
        date: date.clone(),
        file: hashes[&mutant.file].clone(),
    };
    let is_meant = |mutant: &Mutant| {
        wanted.parts.is_empty() || wanted.parts.iter().any(|part| mutant.file.contains(part.as_str()))
    };
    let reasons = page::reasons(&tree.root)?;
    let has_none = |mutant: &Mutant| !reasons.contains_key(&(mutant.file.clone(), mutant.name.clone()));
    let mut left = Vec::new();
    for (place, (id, mutant)) in mutants.iter().filter(|(_, mutant)| is_meant(mutant)).enumerate() {
        if state.unviable.contains(id) {
            results.insert(key(mutant), outcome(mutant, "unviable", ""));
            continue;
        }
        if state.unswitched.contains(id) {
            results.entry(key(mutant)).or_insert_with(|| outcome(mutant, "not switched", ""));
            continue;
        }
        let before = results.get(&key(mutant)).map(|outcome| outcome.what.as_str());
        let is_open = match before {
            None | Some("unviable" | "not switched") => true,
            Some("missed" | "not reached" | "unfinished") => wanted.again && has_none(mutant),
            Some(_) => false,
        };
        if is_open && place % wanted.shard.1 == wanted.shard.0 {
            left.push((*id, mutant));
        }
    }
    left.reverse();
    eprintln!("{} mutants to try", left.len());
    let total = left.len();
    write_results(&path, &results)?;
    // One by one, so that a mutant that ends this program costs no other's result.
    let append = fs::OpenOptions::new().append(true).open(&path);
    let append = append.map_err(|error| format!("{}: {error}", path.display()))?;
    let left = Mutex::new(left);
    let log = fs::File::create(work.join("log.txt")).map_err(|error| error.to_string())?;
    let shared = Mutex::new((results, log, append));
    std::thread::scope(|scope| {
        for number in 0..wanted.jobs {
            let (left, shared, outcome) = (&left, &shared, &outcome);
            scope.spawn(move || {
                let Ok(worker) = worker(tree, work, &state.programs, number) else { return };
                loop {
                    if wanted.until.is_some_and(|until| Instant::now() > until) {
                        break;
                    }
                    let Some((id, mutant)) = left.lock().expect("no panic").pop() else { break };
                    let (what, by) = verdict(&worker, state, id, wanted.patience);
                    let mut shared = shared.lock().expect("no panic");
                    let _ = writeln!(shared.1, "{what} {} {} by {by}", mutant.place(), mutant.name);
                    let (name, outcome) = (key(mutant), outcome(mutant, what, &by));
                    let _ = writeln!(shared.2, "{}", line_of(&name, &outcome));
                    shared.0.insert(name, outcome);
                    drop(shared);
                    let rest = left.lock().expect("no panic").len();
                    if rest % 50 == 0 {
                        eprintln!("{} of {total}", total - rest);
                    }
                }
                worker.end();
            });
        }
    });
    let (results, ..) = shared.into_inner().expect("no panic");
    write_results(&path, &results)?;
    Ok(results)
}

fn line_of(key: &str, outcome: &Outcome) -> Value {
    json!({
        "mutant": key, "what": outcome.what, "by": outcome.by, "date": outcome.date, "file": outcome.file,
    })
}

fn write_results(path: &Path, results: &Results) -> Result<(), String> {
    let lines: String = results.iter().map(|(key, outcome)| format!("{}\n", line_of(key, outcome))).collect();
    fs::write(path, lines).map_err(|error| format!("{}: {error}", path.display()))
}

/// Tries the tests that come by a mutant until one fails twice.
fn verdict(worker: &Worker, state: &State, id: usize, patience: Option<Duration>) -> (&'static str, String) {
    let started = Instant::now();
    let mut tests: Vec<&Test> = state.tests.iter().filter(|test| test.reaches.contains(&id)).collect();
    // What comes by few mutants looks at each more closely.
    tests.sort_by_key(|test| {
        test.took.max(Duration::from_millis(30)) * u32::try_from(test.reaches.len()).unwrap_or(u32::MAX)
    });
    if tests.is_empty() {
        return ("not reached", String::new());
    }
    for test in tests {
        if patience.is_some_and(|patience| started.elapsed() + test.took > patience) {
            return ("unfinished", String::new());
        }
        let (ended, took) = worker.run(test, id, None);
        // What fails once may have failed because the machine is busy.
        let is_sure = match ended {
            Ended::Well => continue,
            Ended::Badly if took > Duration::from_secs(9) && worker.system == System::Linux => true,
            Ended::Badly => worker.run(test, id, None).0 != Ended::Well,
            Ended::Never => worker.system == System::Linux || worker.run(test, id, None).0 != Ended::Well,
        };
        if is_sure {
            return (if ended == Ended::Never { "hung" } else { "caught" }, test.name.clone());
        }
    }
    ("missed", String::new())
}
