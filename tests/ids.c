/* What a program in a container of single-id mode finds when it changes its ids and looks again.
 * tests/single_id.rs compiles it statically and runs it there.
 *
 *   ids rules      setuid(2), setreuid(2), setresuid(2), setfsuid(2), setgroups(2) by the book
 *   ids threads    the C library's broadcast to all threads
 *   ids family     who inherits what: fork, orphans, exec
 *   ids old        the calls of i386 programs, with ids of 16 and of 32 bits
 *   ids secret     a process whose memory is not for others (PR_SET_DUMPABLE)
 *   ids signals    calls that signals interrupt
 *   ids time N     nanoseconds for each of N calls of getuid
 *   ids listening COMMAND...
 *                  runs COMMAND below a seccomp filter that has a listener already
 *
 * Prints "well" if all was as expected, else the line that was not.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define IS(what) do { errno = 0; if (!(what)) { \
	printf("line %d: %s (errno %d; %d %d)\n", __LINE__, #what, errno, getuid(), geteuid()); exit(1); } } while (0)
#define FAILS(call, number) IS((call) == -1 && errno == (number))

static int users(uid_t real, uid_t effective, uid_t saved)
{
	uid_t r, e, s;
	return getresuid(&r, &e, &s) == 0 && r == real && e == effective && s == saved
		&& getuid() == real && geteuid() == effective;
}

static int groups(gid_t real, gid_t effective, gid_t saved)
{
	gid_t r, e, s;
	return getresgid(&r, &e, &s) == 0 && r == real && e == effective && s == saved
		&& getgid() == real && getegid() == effective;
}

/* Runs a part in a child, which inherits root. */
static void apart(void (*part)(void))
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		part();
		exit(0);
	}
	int status;
	IS(waitpid(child, &status, 0) == child);
	if (status != 0)
		exit(1);
}

static void for_good(void)
{
	gid_t list[3] = { 30, 10, 20 }, back[4];
	IS(setgroups(3, list) == 0);
	IS(getgroups(0, NULL) == 3);
	FAILS(getgroups(2, back), EINVAL);
	FAILS(getgroups(-1, back), EINVAL);
	IS(getgroups(4, back) == 3 && back[0] == 10 && back[1] == 20 && back[2] == 30);
	FAILS(getgroups(3, (gid_t *)8), EFAULT);
	FAILS(setgroups(3, (gid_t *)8), EFAULT);
	FAILS(setgroups(70000, list), EINVAL);
	list[1] = (gid_t)-1;
	FAILS(setgroups(3, list), EINVAL);
	IS(setgid(5) == 0 && groups(5, 5, 5));
	IS(setuid(33) == 0 && users(33, 33, 33));
	FAILS(setuid(0), EPERM);
	FAILS(seteuid(0), EPERM);
	FAILS(setreuid(0, 0), EPERM);
	FAILS(setresuid(-1, -1, 0), EPERM);
	FAILS(setgid(0), EPERM);
	FAILS(setregid(-1, 0), EPERM);
	FAILS(setgroups(0, NULL), EPERM);
	FAILS(setuid(-1), EINVAL);
	IS(setuid(33) == 0 && setresuid(-1, 33, -1) == 0 && users(33, 33, 33));
	IS(syscall(SYS_getresuid, 8, 8, 8) == -1 && errno == EFAULT);
}

static void for_a_while(void)
{
	IS(seteuid(33) == 0 && users(0, 33, 0));
	FAILS(setuid(44), EPERM);
	FAILS(setgroups(0, NULL), EPERM);
	IS(seteuid(0) == 0 && users(0, 0, 0));
	IS(setreuid(33, 44) == 0 && users(33, 44, 44));
	IS(setreuid(44, 33) == 0 && users(44, 33, 33));
	IS(setresuid(33, 44, 33) == 0 && users(33, 44, 33));
	FAILS(setreuid(1, -1), EPERM);
	FAILS(setresuid(33, 44, 1), EPERM);
}

static void for_files(void)
{
	IS(setfsuid(33) == 0 && setfsuid(-1) == 33 && users(0, 0, 0));
	IS(setfsgid(7) == 0 && setfsgid(-1) == 7);
	IS(setresuid(33, 33, 33) == 0 && setfsuid(-1) == 33);
	IS(setfsuid(0) == 33 && setfsuid(-1) == 33);
}

static void limit_stays(void)
{
	struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
	IS(setuid(33) == 0);
	IS(setrlimit(RLIMIT_LOCKS, &none) == 0);
	IS(prlimit(getpid(), RLIMIT_LOCKS, &none, NULL) == 0);
	IS(users(33, 33, 33));
}

static void *look_and_try(void *unused)
{
	(void)unused;
	for (int i = 0; i < 200; i++)
		IS(getuid() == 0 || getuid() == 33);
	return NULL;
}

static void *wait_and_look(void *unused)
{
	(void)unused;
	while (getuid() == 0)
		usleep(1000);
	IS(users(33, 33, 33) && groups(5, 5, 5));
	FAILS(setuid(0), EPERM);
	return NULL;
}

static void in_threads(void)
{
	pthread_t threads[8];
	for (int i = 0; i < 8; i++)
		IS(pthread_create(&threads[i], NULL, i % 2 ? look_and_try : wait_and_look, NULL) == 0);
	IS(setgroups(0, NULL) == 0 && setresgid(5, 5, 5) == 0 && setresuid(33, 33, 33) == 0);
	for (int i = 0; i < 8; i++)
		IS(pthread_join(threads[i], NULL) == 0);
	IS(users(33, 33, 33));
}

/* The parent goes on to be another user than the child it has, and the child's parent ends before it looks. */
static void family(const char *self)
{
	int ready[2], said[2];
	char answer = 0;
	IS(pipe(ready) == 0 && pipe(said) == 0);
	pid_t early = fork();
	if (early == 0) {
		IS(read(ready[0], &answer, 1) == 1);
		IS(users(0, 0, 0));
		_exit(0);
	}
	pid_t middle = fork();
	if (middle == 0) {
		IS(setuid(44) == 0);
		if (fork() == 0) {
			while (getppid() != 1)
				usleep(1000);
			char *argv[] = { (char *)self, "am", "44", NULL };
			dup2(said[1], 1);
			execv(self, argv);
			_exit(1);
		}
		_exit(0);
	}
	int status;
	IS(waitpid(middle, &status, 0) == middle && status == 0);
	IS(read(said[0], &answer, 1) == 1 && answer == 'w');
	IS(setuid(33) == 0);
	IS(write(ready[1], "x", 1) == 1);
	IS(waitpid(early, &status, 0) == early && status == 0);
}

#ifdef __x86_64__
static long old(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}

static uint16_t narrow[8];
static uint32_t wide[8];

static void by_old_calls(void)
{
	narrow[0] = 9, narrow[1] = 4;
	IS(old(81, 2, (long)narrow, 0) == 0 && getgroups(8, wide) == 2 && wide[0] == 4 && wide[1] == 9);
	memset(narrow, 0, sizeof narrow);
	IS(old(80, 8, (long)narrow, 0) == 2 && narrow[0] == 4 && narrow[1] == 9 && narrow[2] == 0);
	IS(old(208, 100000, 33, 44) == 0 && users(100000, 33, 44));
	IS(old(24, 0, 0, 0) == 65534 && old(199, 0, 0, 0) == 100000 && old(49, 0, 0, 0) == 33);
	IS(old(165, (long)&narrow[0], (long)&narrow[1], (long)&narrow[2]) == 0);
	IS(narrow[0] == 65534 && narrow[1] == 33 && narrow[2] == 44 && narrow[3] == 0);
	IS(old(209, (long)&wide[0], (long)&wide[1], (long)&wide[2]) == 0 && wide[0] == 100000 && wide[2] == 44);
	IS(old(164, 0xffff, 44, 0xffff) == 0 && users(100000, 44, 44));
	IS(old(23, 0, 0, 0) == -EPERM && old(23, 0xffff, 0, 0) == -EINVAL && old(213, -1, 0, 0) == -EINVAL);
}
#else
static void by_old_calls(void) { }
#endif

static void secret(void)
{
	IS(prctl(PR_SET_DUMPABLE, 0) == 0);
	IS(setresuid(33, 33, 33) == 0 && users(33, 33, 33));
}

static void nothing(int unused) { (void)unused; }

static void under_signals(void)
{
	struct sigaction action = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	struct itimerval often = { { 0, 50 }, { 0, 50 } };
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 2000; i++) {
		uid_t turn = i % 2 ? 33 : 44, other = i % 2 ? 44 : 33;
		IS(setresuid(turn, other, 0) == 0 && users(turn, other, 0));
		IS(setresuid(-1, 0, -1) == 0);
	}
}

static void listen_and_run(char **argv)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { .len = 1, .filter = &allow };
	IS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	IS(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) >= 0);
	/* The descriptor is close-on-exec, and without it there is no listener: this process keeps it. */
	pid_t child = fork();
	if (child == 0) {
		execv(argv[0], argv);
		_exit(1);
	}
	int status;
	IS(waitpid(child, &status, 0) == child);
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* setpriv(1)'s way: capabilities outlive the change of user, until the next program. */
static void keeps_power(void)
{
	IS(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0) == 1);
	IS(setresuid(33, 33, 33) == 0 && users(33, 33, 33));
	/* "KEEPCAPS" keeps the permitted ones; the effective ones are to be asked for again. */
	struct { uint32_t version; int pid; } header = { 0x20080522, 0 };
	struct { uint32_t effective, permitted, inheritable; } caps[2];
	IS(syscall(SYS_capget, &header, caps) == 0);
	caps[0].effective = caps[0].permitted;
	IS(syscall(SYS_capset, &header, caps) == 0);
	IS(setresgid(5, 5, 5) == 0 && groups(5, 5, 5) && setgroups(0, NULL) == 0);
	caps[0].effective = caps[0].permitted = 0;
	IS(syscall(SYS_capset, &header, caps) == 0);
	FAILS(setresgid(0, 0, 0), EPERM);
	FAILS(setuid(0), EPERM);
}

static void gives_power_up(void)
{
	struct { uint32_t version; int pid; } header = { 0x20080522, 0 };
	struct { uint32_t effective, permitted, inheritable; } none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
	IS(syscall(SYS_capset, &header, none) == 0);
	FAILS(setuid(33), EPERM);
	FAILS(setgroups(0, NULL), EPERM);
	IS(setuid(0) == 0 && users(0, 0, 0));
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (!strcmp(what, "am")) {
		uid_t id = atoi(argv[2]);
		IS(users(id, id, id));
	} else if (!strcmp(what, "time")) {
		struct timespec from, to;
		long count = atol(argv[2]);
		clock_gettime(CLOCK_MONOTONIC, &from);
		for (long i = 0; i < count; i++)
			getuid();
		clock_gettime(CLOCK_MONOTONIC, &to);
		printf("%ld\n", ((to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec - from.tv_nsec) / count);
		return 0;
	} else if (!strcmp(what, "listening")) {
		listen_and_run(argv + 2);
	} else {
		IS(users(0, 0, 0) && groups(0, 0, 0));
		if (!strcmp(what, "rules")) {
			apart(for_good);
			apart(for_a_while);
			apart(for_files);
			apart(limit_stays);
			apart(keeps_power);
			apart(gives_power_up);
		} else if (!strcmp(what, "threads")) {
			for (int i = 0; i < 10; i++)
				apart(in_threads);
		} else if (!strcmp(what, "family")) {
			family(argv[0]);
		} else if (!strcmp(what, "old")) {
			apart(by_old_calls);
		} else if (!strcmp(what, "secret")) {
			apart(secret);
		} else if (!strcmp(what, "signals")) {
			apart(under_signals);
		} else {
			printf("what?\n");
			return 2;
		}
		IS(!strcmp(what, "family") || users(0, 0, 0));
	}
	printf("well\n");
	return 0;
}
