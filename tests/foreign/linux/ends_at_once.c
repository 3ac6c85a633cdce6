/* A child that exits at once, with code 9. */
int main(void)
{
    return 9;
}
