//! The suites of channels, calls, disconnects and futures, on tokio; and the tests of its runtimes.

use std::process::ExitCode;

mod channel {
    use handover_tests::adapters::blocking::on_tokio as endpoints;

    include!("shared/channel.rs");
}

mod calls {
    use handover_tests::adapters::blocking::on_tokio as endpoints;

    include!("shared/calls.rs");
}

mod disconnect {
    use handover_tests::adapters::blocking::on_tokio as endpoints;

    include!("shared/disconnect.rs");
}

mod futures {
    use handover_tests::adapters::tokio as runtime;

    include!("shared/futures.rs");

    /// Returns the tests that tokio alone has. They use the roles of the suite above, so they have its name.
    pub(crate) fn own_suite(name: &'static str) -> Suite {
        Suite {
            name,
            tests: tests![
                dropped_runtime_ends_every_wait,
                current_thread_runtime_does_it_all,
                example_of_the_readme_runs,
            ],
            roles: tests![runs_the_readme],
        }
    }

    /// The parent of the README's asynchronous example.
    mod readme {
        include!(concat!(env!("OUT_DIR"), "/readme_async.rs"));

        pub(crate) fn run() {
            main().unwrap();
        }
    }

    fn dropped_runtime_ends_every_wait() {
        let (child, channel) = linked_in_role("never_reads", &[]);
        let mut child = Child::from(child);
        let own = Channel::from(channel.clone());
        let mut listener = Listener::bind(&name("dropped")).unwrap();
        let event = Arc::new(Event::auto_reset().unwrap());
        let (one, other) = handover::Channel::pair().unwrap();
        let kept = Channel::from(one);
        let before = table::count();
        let other_runtime =
            || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        for _ in 0..3 {
            let dropped = other_runtime();
            let [receives, calls, sends] = [(); 3].map(|()| own.clone());
            let waits = event.clone();
            dropped.spawn(async move { receives.recv().await });
            dropped.spawn(async move { calls.call("a call").await });
            dropped.spawn(async move { sends.send(vec![0; 4 << 20]).await });
            dropped.spawn(async move { wait(&*waits).await });
            let waiting = kept.clone();
            dropped.spawn(async move { waiting.recv().await });
            let _ = dropped.block_on(timeout(SHORT, child.wait()));
            let _ = dropped.block_on(timeout(SHORT, listener.accept()));
            let started = Instant::now();
            drop(dropped);
            assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
            event.set().unwrap();
            assert!(event.try_wait().unwrap(), "no dropped wait takes it");
        }
        // Some of them keep what a wait needs.
        assert!(table::count() <= before + 8, "{} and {before}", table::count());
        // Another runtime goes on with all of them.
        let next = other_runtime();
        let client = spawn(async { soon(Channel::connect(&name("dropped"))).await.is_ok() });
        next.block_on(async {
            assert!(timeout(SHORT, kept.recv()).await.is_none());
            other.send("still here").unwrap();
            assert_eq!(soon(kept.recv()).await.unwrap().bytes(), b"still here");
            soon(soon(listener.accept()).await.unwrap().accept()).await.unwrap();
            assert!(client.join().await);
            child.kill().unwrap();
            soon(child.wait()).await.unwrap();
            let end = soon(own.recv()).await;
            assert!(matches!(end, Err(Error::ProcessExited { .. } | Error::Disconnected { .. })), "{end:?}");
        });
    }

    fn current_thread_runtime_does_it_all() {
        let only = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (one, other) = pair();
        let event = Event::manual_reset().unwrap();
        only.block_on(async {
            let server = tokio::spawn(async move {
                for _ in 0..1000 {
                    let call = other.recv().await.unwrap();
                    other.reply(&call, call.bytes()).await.unwrap();
                }
                other
            });
            for count in 0..1000_u32 {
                let reply = soon(one.call(count.to_le_bytes().to_vec())).await.unwrap();
                assert_eq!(reply.bytes(), count.to_le_bytes());
            }
            let other = server.await.unwrap();
            // Both send more than fits, on one thread.
            let exchange = async |channel: &Channel| {
                channel.send(vec![1; 5 << 20]).await.unwrap();
                channel.recv().await.unwrap().bytes().len()
            };
            let both = async { tokio::join!(exchange(&one), exchange(&other)) };
            assert_eq!(soon(both).await, (5 << 20, 5 << 20));
            assert!(timeout(SHORT, wait(&event)).await.is_none());
            event.set().unwrap();
            soon(wait(&event)).await.unwrap();
        });
    }

    /// The variable by which a copy of this program is the example's worker.
    pub(crate) const WORKER: &str = "HANDOVER_TEST_WORKER";

    pub(crate) fn works() {
        let channel = handover::Channel::parent().unwrap();
        let message = channel.recv_timeout(SOON).unwrap();
        message.take::<Event>("done").unwrap().set().unwrap();
        message.reply("it is done").unwrap();
    }

    fn runs_the_readme(_: &[String]) {
        readme::run();
    }

    fn example_of_the_readme_runs() {
        let folder = std::env::temp_dir().join(format!("handover-readme-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let worker = folder.join("worker").with_extension(std::env::consts::EXE_EXTENSION);
        std::fs::copy(this_program(), &worker).unwrap();
        let mut command = Command::new(this_program());
        command.args(role("runs_the_readme", &[])).env("PATH", &folder).env(WORKER, "1");
        let child = Child::from(command.stdout(Stdio::piped()).spawn().unwrap());
        let output = block_on(soon(child.wait_with_output())).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), "it is done");
    }
}

fn main() -> ExitCode {
    if std::env::var_os(futures::WORKER).is_some() && std::env::args_os().len() == 1 {
        futures::works();
        return ExitCode::SUCCESS;
    }
    handover_tests::adapters::tokio::prepare();
    handover_tests::main_of(&[
        channel::suite("channel"),
        calls::suite("calls"),
        disconnect::suite("disconnect"),
        futures::suite("futures"),
        futures::own_suite("futures"),
    ])
}
