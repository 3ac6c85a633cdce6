/* A child that dies early. */
int main(void)
{
    return 9;
}
