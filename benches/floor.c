/* The least cost of a tool that repeats a command: posix_spawn and wait, up to N times until the
   command succeeds.
   Usage: floor N COMMAND [ARG]... */
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv)
{
    int status = 0;
    if (argc < 3)
        return 125;
    for (long left = atol(argv[1]); left > 0; left--) {
        pid_t pid;
        if (posix_spawnp(&pid, argv[2], NULL, NULL, argv + 2, environ) != 0)
            return 127;
        if (waitpid(pid, &status, 0) != pid)
            return 125;
        if (status == 0)
            return 0;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
