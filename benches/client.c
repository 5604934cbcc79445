/* The client of the storm: it makes one connection to 127.0.0.1:$PORT and copies the answer to
   stderr. It exits with 0 if the answer has status 200. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    char answer[512];
    size_t length = 0;
    ssize_t n;
    const char *port = getenv("PORT");
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_port = htons(port ? atoi(port) : 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        return 7;
    while (length < sizeof answer - 1 && (n = read(fd, answer + length, sizeof answer - 1 - length)) > 0)
        length += n;
    answer[length] = 0;
    if (write(2, answer, length) < 0)
        return 8;
    return strstr(answer, " 200 ") ? 0 : 22;
}
