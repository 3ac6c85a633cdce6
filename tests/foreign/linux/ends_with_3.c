/* A child that fails with the exit code that the exercises use for a deadline. */
int main(void)
{
    return 3;
}
