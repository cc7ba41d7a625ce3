/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Namespaces, a ruleset and sockets for the tests of live flows. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "lab.h"
#include "nat-bridge/link.h"

struct lab lab;
static unsigned int failures, checks;

void check(bool ok, const char *condition, const char *function, int line)
{
	checks++;
	if (ok)
		return;
	failures++;
	fprintf(stderr, "FAIL %s:%d: %s\n", function, line, condition);
}

_Noreturn void stop(const char *what)
{
	perror(what);
	exit(1);
}

void run(const char *format, ...)
{
	char command[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command) == 0)
		return;
	fprintf(stderr, "failed: %s\n", command);
	exit(1);
}

static _Noreturn void skip(const char *why)
{
	printf("skipped: %s\n", why);
	exit(getenv("NB_FORBID_SKIP") ? 1 : 77);
}

/* --- the lab --- */

static int new_namespace(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		stop("unshare");
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		stop("/proc/self/ns/net");
	run("ip link set lo up");
	return fd;
}

void enter(int namespace)
{
	if (setns(namespace, CLONE_NEWNET) < 0)
		stop("setns");
}

static void attach(int namespace, const char *port, const char *address)
{
	run("ip link add %s type veth peer name eth0 netns /proc/%d/fd/%d", port, getpid(),
	    namespace);
	run("ip link set %s up", port);
	enter(namespace);
	run("ip address add %s dev eth0 && ip link set eth0 up", address);
	enter(lab.host);
}

void build_lab(void)
{
	if (geteuid() != 0)
		skip("needs root");
	if (system("command -v nft ip sysctl >/dev/null") != 0)
		skip("needs nft, ip and sysctl");
	/* of mounts, too, because commands may mount what belongs to their namespace */
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		skip("cannot make a network namespace");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip("cannot make mounts private");

	lab.outside = new_namespace();
	lab.a = new_namespace();
	lab.b = new_namespace();
	lab.host = new_namespace();

	run("ip link add brA type bridge && ip link add brB type bridge");
	run("ip link set brA up && ip link set brB up");
	attach(lab.a, "portA", CLIENT_A "/24");
	attach(lab.b, "portB", CLIENT_B "/24");
	attach(lab.outside, "out", OUTSIDE "/24");
	run("ip link set portA master brA && ip link set portB master brB");
	run("ip address add " GATEWAY "/24 dev brA && ip address add " GATEWAY "/32 dev brB");
	run("ip route add " CLIENT_B "/32 dev brB && ip address add 192.0.2.1/24 dev out");
	run("ip route add " ROUTED "/32 via " CLIENT_A " dev brA");
	run("sysctl -qw net.ipv4.ip_forward=1");

	enter(lab.a);
	run("ip route add default via " GATEWAY " && ip address add " ROUTED "/32 dev eth0");
	enter(lab.b);
	run("ip route add default via " GATEWAY);
	enter(lab.outside);
	run("ip route add default via 192.0.2.1");
	enter(lab.host);

	run("nft -f - <<'END'\n"
	    "table ip lab {\n"
	    "	map targets {\n"
	    "		type ifname . inet_proto . inet_service : ipv4_addr . inet_service\n"
	    "		elements = {\n"
	    "			\"brA\" . tcp . 8080 : 127.0.0.1 . 9000,\n"
	    "			\"brB\" . tcp . 8080 : 127.0.0.1 . 9000,\n"
	    "			\"brA\" . tcp . 8081 : 127.0.0.1 . 9000,\n"
	    "			\"brA\" . tcp . 8082 : 127.0.0.1 . 9001,\n"
	    "			\"brA\" . tcp . 8083 : 127.0.0.1 . 9003,\n"
	    "			\"brA\" . tcp . 8084 : 127.0.0.1 . 9004,\n"
	    "			\"brA\" . tcp . 8085 : 127.0.0.1 . 9000,\n"
	    "			\"brA\" . tcp . 8086 : 127.0.0.1 . 9000,\n"
	    "			\"brA\" . udp . 8100 : 127.0.0.1 . 9100,\n"
	    "			\"brB\" . udp . 8100 : 127.0.0.1 . 9100,\n"
	    "			\"brA\" . udp . 8101 : 127.0.0.1 . 9101,\n"
	    "			\"brA\" . udp . 8300 : 127.0.0.1 . 9300 }\n"
	    "	}\n"
	    "	chain zones {\n"
	    "		type filter hook prerouting priority raw;\n"
	    "		iifname brA tcp dport 8083 ct zone set 7\n"
	    "		iifname brA tcp dport 8084 ct original zone set 8\n"
	    "	}\n"
	    "	chain answers {\n"
	    "		type filter hook output priority raw;\n"
	    "		ip saddr 127.0.0.1 tcp sport 9003 ct zone set 7\n"
	    "	}\n"
	    "	chain translate {\n"
	    "		type nat hook prerouting priority dstnat;\n"
	    "		fib daddr type local dnat ip to iifname . meta l4proto . th dport map "
	    "@targets\n"
	    "	}\n"
	    "	chain input {\n"
	    "		type nat hook input priority 100;\n"
	    "		iifname brA meta l4proto tcp ct original proto-dst 8085 snat to " SNATTED
	    "\n"
	    "	}\n"
	    "}\n"
	    "END");

	lab.bridge_a = (int)if_nametoindex("brA");
	lab.bridge_b = (int)if_nametoindex("brB");
	lab.nl = nb_netlink_new();
	if (!lab.nl)
		stop("nb_netlink_new");
	CHECK(nb_link_set(lab.nl, lab.bridge_a, 1, false, 0, NULL) == 0);
	CHECK(nb_link_set(lab.nl, lab.bridge_b, 1, false, 0, NULL) == 0);
}

/* --- sockets --- */

struct sockaddr_in place(const char *address, uint16_t port)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (inet_pton(AF_INET, address, &name.sin_addr) != 1)
		stop(address);
	return name;
}

void bind_to(int fd, const char *address, uint16_t port)
{
	struct sockaddr_in name = place(address, port);
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
		stop("bind");
}

void connect_to(int fd, const char *address, uint16_t port)
{
	struct sockaddr_in name = place(address, port);

	if (connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
		stop("connect");
}

int new_socket(int type)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	struct timeval timeout = { .tv_sec = 3 };

	if (fd < 0)
		stop("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	return fd;
}

int listen_on(uint16_t port)
{
	int fd = new_socket(SOCK_STREAM);

	bind_to(fd, SERVICE, port);
	if (listen(fd, 16) < 0)
		stop("listen");
	return fd;
}

int listen_dual_stack(uint16_t port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), off = 0;

	if (fd < 0)
		stop("socket(AF_INET6)");
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 16) < 0)
		stop("listen on [::]");
	return fd;
}

int dial(int namespace, int type, const char *source, uint16_t port)
{
	int fd;

	enter(namespace);
	fd = new_socket(type);
	if (source)
		bind_to(fd, source, 0);
	connect_to(fd, GATEWAY, port);
	enter(lab.host);
	return fd;
}

bool says(int from, int to)
{
	char got[8] = "";

	return send(from, "hello", 5, MSG_NOSIGNAL) == 5 && recv(to, got, sizeof(got), 0) == 5 &&
	       memcmp(got, "hello", 5) == 0;
}

bool talks(const struct connection *connection)
{
	return says(connection->client, connection->service) &&
	       says(connection->service, connection->client);
}

struct connection open_connection(int namespace, int listener, const char *source, uint16_t port)
{
	struct connection connection = { .client = dial(namespace, SOCK_STREAM, source, port) };
	struct timeval timeout = { .tv_sec = 3 };

	connection.service = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (connection.service < 0)
		stop("accept");
	setsockopt(connection.service, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (!talks(&connection))
		stop("a new connection does not work");
	return connection;
}

void close_connection(struct connection *connection)
{
	close(connection->client);
	close(connection->service);
}

int error_within(int fd, int milliseconds)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	char byte;

	if (poll(&poller, 1, milliseconds) <= 0 || recv(fd, &byte, 1, MSG_DONTWAIT) >= 0)
		return 0;
	return errno;
}

bool asks(int client, int server)
{
	struct sockaddr_in peer = { 0 };
	socklen_t length = sizeof(peer);
	char buffer[8];

	return send(client, "ask", 3, 0) == 3 &&
	       recvfrom(server, buffer, sizeof(buffer), 0, (struct sockaddr *)&peer, &length) ==
		       3 &&
	       sendto(server, "tell", 4, 0, (struct sockaddr *)&peer, length) == 4 &&
	       recv(client, buffer, sizeof(buffer), 0) == 4;
}

int finish_lab(void)
{
	nb_netlink_free(lab.nl);
	printf("%u checks, %u failed\n", checks, failures);
	return failures ? 1 : 0;
}
