/* A child that exits with 3, the code that the exercises use for a timeout. */
int main(void)
{
    return 3;
}
