//! The suites of channels, calls, disconnects and futures, on async-io.

use std::process::ExitCode;

mod channel {
    use handover_tests::adapters::blocking::on_async_io as endpoints;

    include!("shared/channel.rs");
}

mod calls {
    use handover_tests::adapters::blocking::on_async_io as endpoints;

    include!("shared/calls.rs");
}

mod disconnect {
    use handover_tests::adapters::blocking::on_async_io as endpoints;

    include!("shared/disconnect.rs");
}

mod futures {
    use handover_tests::adapters::async_io as runtime;

    include!("shared/futures.rs");
}

fn main() -> ExitCode {
    handover_tests::adapters::async_io::prepare();
    handover_tests::main_of(&[
        channel::suite("channel"),
        calls::suite("calls"),
        disconnect::suite("disconnect"),
        futures::suite("futures"),
    ])
}
