/* A child that fails with the exit code that the exercises use for a deadline. */
int wmain(void)
{
    return 3;
}
