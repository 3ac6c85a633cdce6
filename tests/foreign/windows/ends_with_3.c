/* A child that exits with 3, the code that the exercises use for a timeout. */
int wmain(void)
{
    return 3;
}
