//! Starts a sharer and a receiver, which share an event without this process.

fn main() -> std::process::ExitCode {
    exercises::parent("Starts a sharer and a receiver that share an event", |options, ()| {
        // The two processes meet at a name that both get on their command lines. They share no handle at first.
        let name = format!("handover-exercise.{}", std::process::id());
        let mut sharer = options.child("unrelated-sharer")?.arg(&name).spawn()?;
        let mut receiver = options.child("unrelated-receiver")?.arg(&name).spawn()?;

        // Wait for both processes to terminate.
        options.wait_for_exit(&mut receiver)?;
        options.wait_for_exit(&mut sharer)
    })
}
