/* A child that exits at once, with code 9. */
int wmain(void)
{
    return 9;
}
