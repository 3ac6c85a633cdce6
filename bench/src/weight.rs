pub(crate) fn measure(_: &mut crate::measure::Bench) -> crate::Outcome {
    Ok(())
}
