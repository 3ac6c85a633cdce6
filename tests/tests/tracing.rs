//! Each system call makes one event.
fn main() -> std::process::ExitCode {
    handover_tests::main(handover_tests::tests![], handover_tests::tests![])
}
