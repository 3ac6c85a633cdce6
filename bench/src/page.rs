pub(crate) fn render() -> crate::Outcome {
    Ok(())
}
