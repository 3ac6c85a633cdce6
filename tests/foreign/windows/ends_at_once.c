/* A child that dies early. */
int wmain(void)
{
    return 9;
}
