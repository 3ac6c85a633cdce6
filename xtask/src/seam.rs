//! Whether each system call of the library is made through its seam, where a test can let it fail.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// What makes a call that a test can let fail, or one that is told of and that cleans up.
const SEAM: [&str; 5] = ["call", "ask", "always", "always_ask", "ask_page"];
/// What begins a thread, by a method of std's.
const SEAM_OF_A_THREAD: &str = "begin_thread";
/// The same in what a process on Linux is made by, of which only the whole is told.
const SEAM_OF_A_START: [&str; 3] = ["made", "done", "answered"];

/// Methods of std's that make a system call, where std is called for one.
const METHODS: [&str; 12] = [
    "exists",
    "is_file",
    "metadata",
    "output",
    "read_line",
    "read_to_end",
    "read_until",
    "set_len",
    "spawn",
    "spawn_scoped",
    "symlink_metadata",
    "write_all",
];

/// Functions of the crates that stand for the system which make no call.
const NO_CALLS: [&str; 8] = [
    "rustix::buffer::spare_capacity",
    "rustix::io::retry_on_intr",
    "rustix::param::page_size",
    "rustix::process::geteuid",
    "rustix::process::getpid",
    "rustix::process::getppid",
    "libc::__errno_location",
    "libc::sigfillset",
];

/// Which file, which function in it, which calls, and why they aren't made through the seam.
type Exception = (&'static str, &'static str, &'static [&'static str], &'static str);

const EXCEPTIONS: &[Exception] = &[
    // What std is asked for, whose calls can't be made to fail from here.
    ("os/linux/place.rs", "sweep", &["is_file", "read_dir"], "what can't be swept is in nobody's way"),
    (
        "os/linux/process/lookup.rs",
        "find",
        &["is_file", "metadata"],
        "a file that can't be asked about: the call that starts it says why",
    ),
    ("os/windows/process/lookup.rs", "find", &["is_file"], "as above"),
    (
        "os/windows/process/lookup.rs",
        "folders",
        &["current_exe"],
        "std's; without an answer that folder isn't looked into",
    ),
    ("os/windows/process/sealed.rs", "create", &["current_exe"], "std's; its error is passed on"),
    ("os/windows/process/spawn.rs", "create_on", &["is_file"], "it only chooses between two errors"),
    ("os/windows/process/stream.rs", "pass_on", &["copy"], "std's, on a thread that nobody waits for"),
    (
        "process/child.rs",
        "wait_with_output",
        &["read_to_end", "spawn"],
        "std's reads of a child's streams, on a thread of std's scope",
    ),
    ("process/command.rs", "status", &["spawn"], "it is this crate's own"),
    // A process that is made on Linux: each has a fault of its own before it, or cleans up.
    ("sys/linux/clone.rs", "clone", &["clone"], "behind a fault of its own"),
    ("sys/linux/clone.rs", "read", &["read"], "behind a fault of its own"),
    ("sys/linux/clone.rs", "drop", &["munmap"], "cleans up"),
    ("sys/linux/clone.rs", "forget", &["waitid"], "cleans up"),
    ("sys/linux/clone.rs", "start", &["kill_process", "pidfd_send_signal", "waitpid"], "cleans up"),
    ("sys/linux/clone.rs", "shared_board", &["mmap_anonymous"], "for tests only"),
    ("sys/linux/newborn.rs", "become_the_program", &["syscall"], "execve, behind a fault of its own"),
    (
        "sys/linux/newborn.rs",
        "live",
        &["syscall"],
        "write, which says that something has failed: nobody is left to hear of a failure of that",
    ),
    (
        "sys/linux/newborn.rs",
        "set_mask",
        &["syscall"],
        "rt_sigprocmask, behind a fault of each caller but the one that sets back what was",
    ),
    // What stands below the seam, or inside it from another file.
    ("sys/linux/io.rs", "close", &["close"], "the drop of an owner tells of it, and never leaves it out"),
    ("sys/windows/io.rs", "close", &["CloseHandle"], "as above"),
    ("sys/linux/trace.rs", "request", &["ptrace"], "its callers make it through the seam"),
    ("sys/linux/process.rs", "heard_of", &["waitid"], "as above"),
    (
        "sys/windows/look.rs",
        "ask_for_name",
        &["NtQueryObject"],
        "its callers make it through the seam; the thread that asks for files' names must be able to be ended anywhere",
    ),
    (
        "sys/windows/text.rs",
        "system_directory",
        &["GetSystemDirectoryW"],
        "passed to what makes it through the seam",
    ),
    ("sys/windows/text.rs", "windows_directory", &["GetWindowsDirectoryW"], "as above"),
    // A new process that std makes, before it is traced.
    (
        "sys/linux/trace.rs",
        "wait_for_tracer",
        &["close", "read", "send"],
        "in std's new process, where nothing counts; each failure ends it and is std's error",
    ),
    // For telling of calls, which must not tell of itself.
    ("sys/linux/process.rs", "id_of", &["read_to_string"], "only for telling of calls"),
    (
        "sys/windows/process.rs",
        "id_of",
        &["GetProcessId"],
        "only for telling of calls; where it is asked for itself, that is through the seam",
    ),
    (
        "sys/windows/process.rs",
        "ids_of_thread",
        &["GetProcessIdOfThread", "GetThreadId"],
        "only for names; without an answer there is none",
    ),
    ("sys/windows/mod.rs", "set_last_error", &["SetLastError"], "only for telling of calls; can't fail"),
    // What can't fail.
    (
        "sys/windows/debug.rs",
        "stop",
        &["DbgUiGetThreadDebugObject", "DbgUiSetThreadDebugObject"],
        "can't fail: they read and write this thread's own record",
    ),
    ("sys/windows/handle.rs", "current_process", &["GetCurrentProcess"], "can't fail: a constant"),
    (
        "sys/windows/handle.rs",
        "succeeded_nt",
        &["RtlNtStatusToDosError"],
        "can't fail: it translates a number",
    ),
    (
        "sys/windows/process.rs",
        "new",
        &["InitializeProcThreadAttributeList"],
        "the first of two, which only says how much room there has to be, and always fails",
    ),
    (
        "sys/windows/text.rs",
        "compare_ignoring_case",
        &["CompareStringOrdinal"],
        "can't fail: it compares texts",
    ),
    ("sys/windows/user.rs", "drop", &["LocalFree"], "cleans up"),
];

/// One call and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Site {
    function: String,
    call: String,
}

/// What one file has.
#[derive(Default)]
struct File {
    /// What each imported name stands for.
    imported: HashMap<String, String>,
    /// Functions that are declared to be the system's.
    declared: HashSet<String>,
    /// Whether the calls of a start have a seam of their own here.
    makes_processes: bool,
    functions: Vec<String>,
    private: HashSet<String>,
    in_seam: usize,
    in_begin: usize,
    /// Closures that are passed to the seam by their names.
    passed: Vec<HashSet<String>>,
    bare: Vec<Site>,
    through_the_seam: usize,
    /// From where each function is called, by its name: from which function, and whether in the seam.
    called: HashMap<String, Vec<(String, bool)>>,
}

impl File {
    fn of(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("it can be read");
        let file = syn::parse_file(&text).expect("it compiles");
        let makes_processes = ["clone.rs", "newborn.rs"].iter().any(|name| path.ends_with(name));
        let mut found = Self { makes_processes, ..Self::default() };
        Imports(&mut found.imported, &mut found.declared).visit_file(&file);
        found.visit_file(&file);
        found.leave_helpers();
        found
    }

    fn function(&self) -> String {
        self.functions.last().cloned().unwrap_or_default()
    }

    fn is_seam(&self, name: &str) -> bool {
        SEAM.contains(&name) || (self.makes_processes && SEAM_OF_A_START.contains(&name))
    }

    /// What is only called in the seam is made there.
    fn leave_helpers(&mut self) {
        let mut inside: BTreeSet<String> = BTreeSet::new();
        loop {
            let before = inside.len();
            for name in &self.private {
                let is_inside = |(from, in_seam): &(String, bool)| *in_seam || inside.contains(from);
                if self.called.get(name).is_some_and(|sites| sites.iter().all(is_inside)) {
                    inside.insert(name.clone());
                }
            }
            if inside.len() == before {
                break;
            }
        }
        self.bare.retain(|site| !inside.contains(&site.function));
    }

    /// The whole path of what is called.
    fn whole(&self, path: &syn::Path) -> Vec<String> {
        let mut names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(whole) = self.imported.get(&names[0]) {
            let whole: Vec<String> = whole.split("::").map(str::to_owned).collect();
            names.splice(..1, whole);
        }
        names
    }

    fn system_call(&self, path: &syn::Path) -> Option<String> {
        let names = self.whole(path);
        let whole = names.join("::");
        let last = names.last()?.clone();
        let is_of_a_type = names.len() > 1 && names[names.len() - 2].starts_with(char::is_uppercase);
        let is_call = match names[0].as_str() {
            "windows_sys" => last != "default",
            "libc" | "rustix" => !is_of_a_type,
            "std" => {
                names.get(1).is_some_and(|name| name == "fs")
                    && (!is_of_a_type || matches!(last.as_str(), "open" | "create"))
                    || whole == "std::io::copy"
                    || whole == "std::env::current_exe"
            }
            _ => names.len() == 1 && self.declared.contains(&last),
        };
        (is_call && !NO_CALLS.contains(&whole.as_str())).then_some(last)
    }

    fn found(&mut self, call: String) {
        if self.in_seam > 0 {
            self.through_the_seam += 1;
        } else {
            self.bare.push(Site { function: self.function(), call });
        }
    }
}

/// What is imported anywhere in a file, and what is declared there as the system's.
struct Imports<'a>(&'a mut HashMap<String, String>, &'a mut HashSet<String>);

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        fn walk(tree: &syn::UseTree, before: &str, to: &mut HashMap<String, String>) {
            match tree {
                syn::UseTree::Path(path) => walk(&path.tree, &format!("{before}{}::", path.ident), to),
                syn::UseTree::Name(name) if name.ident == "self" => {
                    let module = before.trim_end_matches("::");
                    to.insert(module.rsplit("::").next().unwrap_or(module).to_owned(), module.to_owned());
                }
                syn::UseTree::Name(name) => {
                    to.insert(name.ident.to_string(), format!("{before}{}", name.ident));
                }
                syn::UseTree::Rename(rename) => {
                    to.insert(rename.rename.to_string(), format!("{before}{}", rename.ident));
                }
                syn::UseTree::Group(group) => group.items.iter().for_each(|tree| walk(tree, before, to)),
                syn::UseTree::Glob(_) => {}
            }
        }
        walk(&item.tree, "", self.0);
    }

    fn visit_foreign_item_fn(&mut self, item: &'ast syn::ForeignItemFn) {
        self.1.insert(item.sig.ident.to_string());
    }
}

/// Whether it is only there for tests of its own file.
fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

fn last_name(expression: &syn::Expr) -> Option<String> {
    match expression {
        syn::Expr::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        _ => None,
    }
}

/// The names that a block passes to the seam.
struct Passed<'a>(&'a File, HashSet<String>);

impl<'ast> Visit<'ast> for Passed<'_> {
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if last_name(&call.func).is_some_and(|name| self.0.is_seam(&name)) {
            self.1.extend(call.args.iter().filter_map(last_name));
        }
        visit::visit_expr_call(self, call);
    }
}

impl<'ast> Visit<'ast> for File {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let name = function.sig.ident.to_string();
        if matches!(function.vis, syn::Visibility::Inherited) {
            self.private.insert(name.clone());
        }
        self.functions.push(name);
        visit::visit_item_fn(self, function);
        self.functions.pop();
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        let name = function.sig.ident.to_string();
        if matches!(function.vis, syn::Visibility::Inherited) && name != "drop" {
            self.private.insert(name.clone());
        }
        self.functions.push(name);
        visit::visit_impl_item_fn(self, function);
        self.functions.pop();
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        let mut passed = Passed(self, HashSet::new());
        passed.visit_block(block);
        let passed = passed.1;
        self.passed.push(passed);
        visit::visit_block(self, block);
        self.passed.pop();
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        let is_passed = match &local.pat {
            syn::Pat::Ident(name) => self.passed.iter().any(|names| names.contains(&name.ident.to_string())),
            _ => false,
        };
        let is_closure = local.init.as_ref().is_some_and(|init| matches!(*init.expr, syn::Expr::Closure(_)));
        let inside = usize::from(is_passed && is_closure);
        self.in_seam += inside;
        visit::visit_local(self, local);
        self.in_seam -= inside;
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(path) = &*call.func {
            if let Some(name) = self.system_call(&path.path) {
                self.found(name);
            } else if let Some(name) = last_name(&call.func) {
                let site = (self.function(), self.in_seam > 0);
                self.called.entry(name).or_default().push(site);
            }
        }
        let inside = usize::from(last_name(&call.func).is_some_and(|name| self.is_seam(&name)));
        let begins = usize::from(last_name(&call.func).is_some_and(|name| name == SEAM_OF_A_THREAD));
        self.in_seam += inside;
        self.in_begin += begins;
        visit::visit_expr_call(self, call);
        self.in_seam -= inside;
        self.in_begin -= begins;
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let name = call.method.to_string();
        if METHODS.contains(&name.as_str()) {
            let begins = name.starts_with("spawn") && self.in_begin > 0;
            self.in_seam += usize::from(begins);
            self.found(name.clone());
            self.in_seam -= usize::from(begins);
        }
        let site = (self.function(), self.in_seam > 0);
        self.called.entry(name).or_default().push(site);
        visit::visit_expr_method_call(self, call);
    }

    /// A function that is passed is called by whoever has it.
    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        if let Some(name) = path.path.get_ident() {
            let site = (self.function(), self.in_seam > 0);
            if self.private.contains(&name.to_string()) {
                self.called.entry(name.to_string()).or_default().push(site);
            }
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        use syn::parse::Parser;
        let expressions = syn::punctuated::Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
        if let Ok(expressions) = expressions.parse2(call.tokens.clone()) {
            return self.visit_all(&expressions);
        }
        // The first of `matches` is an expression, and what follows a pattern.
        let first = |input: syn::parse::ParseStream<'_>| {
            let first: syn::Expr = input.parse()?;
            let _: proc_macro2::TokenStream = input.parse()?;
            Ok(first)
        };
        if let Ok(first) = first.parse2(call.tokens.clone()) {
            let mut found = File { imported: self.imported.clone(), ..Self::default() };
            found.visit_expr(&first);
            for site in found.bare {
                self.found(site.call);
            }
        }
    }
}

impl File {
    fn visit_all(&mut self, expressions: &syn::punctuated::Punctuated<syn::Expr, syn::Token![,]>) {
        let Self { imported, declared, .. } = self;
        let mut found = File { imported: imported.clone(), declared: declared.clone(), ..Self::default() };
        expressions.iter().for_each(|expression| found.visit_expr(expression));
        let sites: Vec<Site> = found.bare;
        for site in sites {
            self.found(site.call);
        }
    }
}

/// All Rust sources in the folder and below.
pub(crate) fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn each_system_call_is_made_through_the_seam_or_is_an_exception() {
    let root = crate::root().join("crates/handover/src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    paths.sort();
    let mut bare: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let mut through_the_seam = 0;
    for path in paths {
        let name = path.strip_prefix(&root).expect("it is in there").to_string_lossy().replace('\\', "/");
        // What lets calls fail, and what tells of them.
        if ["sys/fault.rs", "sys/seam.rs", "sys/record.rs"].contains(&name.as_str()) {
            continue;
        }
        let file = File::of(&path);
        through_the_seam += file.through_the_seam;
        for Site { function, call } in file.bare {
            bare.entry((name.clone(), function)).or_default().insert(call);
        }
    }
    for (file, function, calls, why) in EXCEPTIONS {
        assert!(!why.is_empty());
        let found = bare.remove(&(file.to_string(), function.to_string())).unwrap_or_default();
        let listed: BTreeSet<String> = calls.iter().map(|call| call.to_string()).collect();
        assert_eq!(found, listed, "{file}, {function}: what is there, and what is listed as an exception");
    }
    assert!(bare.is_empty(), "not made through the seam, and no exceptions: {bare:#?}");
    println!("{through_the_seam} calls through the seam, {} exceptions", EXCEPTIONS.len());
    assert!(through_the_seam > 100, "{through_the_seam}");
}
