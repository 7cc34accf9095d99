/* What the kernel charges for one container start: the system calls alone, in one short program.
 * tests/bench compiles it and runs it beside coracle and podman.
 *
 *   floor home                          makes a mapped user namespace, prints its pid, holds it
 *                                       until standard input ends
 *   floor run PID LOWER WORK net|nonet COMMAND...
 *                                       starts COMMAND on an overlay of LOWER in namespaces of its
 *                                       own, mapped below the one that PID holds; WORK is an empty
 *                                       folder for the writable layer, left empty again
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(call) do { if ((call) < 0) { fprintf(stderr, "floor: %s: %s\n", #call, strerror(errno)); exit(1); } } while (0)

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	CHECK(fd);
	CHECK(write(fd, text, strlen(text)));
	close(fd);
}

/* The first range of this user's in /etc/subuid or /etc/subgid. */
static void range(const char *file, char *first, char *count)
{
	const char *name = getenv("USER");
	char line[512];
	FILE *f = fopen(file, "re");
	while (f && fgets(line, sizeof line, f)) {
		char user[64];
		if (sscanf(line, "%63[^:]:%31[^:]:%31[0-9]", user, first, count) == 3 && name && !strcmp(user, name)) {
			fclose(f);
			return;
		}
	}
	fprintf(stderr, "floor: no range for %s in %s\n", name ? name : "(unset USER)", file);
	exit(1);
}

static pid_t spawn_map(const char *program, pid_t pid, unsigned own, const char *first, const char *count)
{
	char target[32], self[32];
	snprintf(target, sizeof target, "%d", pid);
	snprintf(self, sizeof self, "%u", own);
	pid_t child = fork();
	if (child == 0) {
		execlp(program, program, target, "0", self, "1", "1", first, count, (char *)NULL);
		_exit(127);
	}
	return child;
}

static int home(void)
{
	char first[32], count[32];
	int ready[2];
	char byte;
	CHECK(pipe2(ready, O_CLOEXEC));
	pid_t child = fork();
	if (child == 0) {
		CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL));
		CHECK(unshare(CLONE_NEWUSER));
		CHECK(write(ready[1], "x", 1));
		for (;;) pause();
	}
	CHECK(read(ready[0], &byte, 1));
	range("/etc/subuid", first, count);
	pid_t a = spawn_map("newuidmap", child, getuid(), first, count);
	range("/etc/subgid", first, count);
	pid_t b = spawn_map("newgidmap", child, getgid(), first, count);
	int status;
	CHECK(waitpid(a, &status, 0));
	if (status) exit(1);
	CHECK(waitpid(b, &status, 0));
	if (status) exit(1);
	printf("%d\n", child);
	fflush(stdout);
	while (read(0, &byte, 1) > 0) { }
	kill(child, SIGKILL);
	return 0;
}

static void touch(const char *path)
{
	int fd = open(path, O_CREAT | O_RDONLY | O_CLOEXEC, 0644);
	CHECK(fd);
	close(fd);
}

static void devices(void)
{
	static const char *names[] = {"null", "zero", "full", "random", "urandom", "tty"};
	char from[64], to[64];
	CHECK(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(from, sizeof from, "/dev/%s", names[i]);
		snprintf(to, sizeof to, "dev/%s", names[i]);
		touch(to);
		CHECK(mount(from, to, NULL, MS_BIND, NULL));
	}
	CHECK(mkdir("dev/pts", 0755));
	CHECK(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"));
	CHECK(mkdir("dev/shm", 01777));
	CHECK(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k"));
	CHECK(mkdir("dev/mqueue", 0755));
	CHECK(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	CHECK(symlink("/proc/self/fd", "dev/fd"));
	CHECK(symlink("pts/ptmx", "dev/ptmx"));
}

static void masks(void)
{
	static const char *hidden[] = {"proc/kcore", "proc/keys", "proc/timer_list"};
	static const char *fixed[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
	for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
		if (access(hidden[i], F_OK) == 0) CHECK(mount("/dev/null", hidden[i], NULL, MS_BIND, NULL));
	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
		if (access(fixed[i], F_OK) < 0) continue;
		CHECK(mount(fixed[i], fixed[i], NULL, MS_BIND | MS_REC, NULL));
		CHECK(mount(NULL, fixed[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	}
	CHECK(mount("tmpfs", "sys/firmware", "tmpfs", MS_RDONLY, NULL));
}

static void loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(fd);
	CHECK(ioctl(fd, SIOCSIFFLAGS, &request));
	close(fd);
}

/* docker's fourteen, in the bounding set and in effect. */
static void capabilities(void)
{
	const unsigned long long keep = 0xa80425fbULL;
	for (int i = 0; i <= 40; i++)
		if (!(keep >> i & 1)) CHECK(prctl(PR_CAPBSET_DROP, i));
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{.effective = keep, .permitted = keep}};
	CHECK(syscall(SYS_capset, &head, data));
}

/* As long as docker's: one comparison for each system call that is allowed. */
static void filter(void)
{
	enum { CALLS = 330 };
	static struct sock_filter code[CALLS * 2 + 4];
	size_t n = 0;
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (int i = 0; i < CALLS; i++) {
		if (i == SYS_swapon) continue;
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, i, 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	struct sock_fprog program = {.len = n, .filter = code};
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

static int contain(int go, const char *lower, const char *work, int net, char **argv)
{
	char byte, options[4096], merged[2048];
	CHECK(read(go, &byte, 1));
	CHECK(setresgid(0, 0, 0));
	CHECK(setresuid(0, 0, 0));
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	snprintf(merged, sizeof merged, "%s/merged", work);
	snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work,userxattr,volatile", lower, work, work);
	CHECK(mount("overlay", merged, "overlay", 0, options));
	CHECK(chdir(merged));
	CHECK(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	devices();
	if (net) CHECK(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL));
	else CHECK(mount("/sys", "sys", NULL, MS_BIND | MS_REC, NULL));
	masks();
	if (net) loopback_up();
	CHECK(sethostname("floor", 5));
	CHECK(syscall(SYS_pivot_root, ".", "."));
	CHECK(umount2(".", MNT_DETACH));
	CHECK(chdir("/"));
	filter();
	capabilities();
	execv(argv[0], argv);
	fprintf(stderr, "floor: %s: %s\n", argv[0], strerror(errno));
	return 127;
}

static void remove_below(const char *work)
{
	static const char *parts[] = {"work/work/incompat/volatile/dirty", "work/work/incompat/volatile", "work/work/incompat", "work/work", "work", "upper/dev", "upper/proc", "upper/sys", "upper", "merged"};
	char path[2048];
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		snprintf(path, sizeof path, "%s/%s", work, parts[i]);
		remove(path);
	}
}

static int run(char **argv)
{
	const char *lower = argv[1], *work = argv[2];
	int net = !strcmp(argv[3], "net"), go[2], status;
	char path[2048];
	static const char *parts[] = {"upper", "work", "merged"};
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/%s", work, parts[i]);
		CHECK(mkdir(path, 0755));
	}
	snprintf(path, sizeof path, "/proc/%s/ns/user", argv[0]);
	int ns = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(ns);
	CHECK(setns(ns, CLONE_NEWUSER));
	CHECK(pipe2(go, O_CLOEXEC));
	struct clone_args args = {
		.flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | (net ? CLONE_NEWNET : 0),
		.exit_signal = SIGCHLD,
	};
	pid_t child = syscall(SYS_clone3, &args, sizeof args);
	CHECK(child);
	if (child == 0) return contain(go[0], lower, work, net, argv + 4);
	snprintf(path, sizeof path, "/proc/%d/uid_map", child);
	write_file(path, "0 0 1\n1 1 65535\n");
	snprintf(path, sizeof path, "/proc/%d/gid_map", child);
	write_file(path, "0 0 1\n1 1 65535\n");
	CHECK(write(go[1], "x", 1));
	CHECK(waitpid(child, &status, 0));
	remove_below(work);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "home")) return home();
	if (argc >= 7 && !strcmp(argv[1], "run")) return run(argv + 2);
	fprintf(stderr, "usage: floor home | floor run PID LOWER WORK net|nonet COMMAND...\n");
	return 2;
}
