/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Places and what is sent from them, on a real kernel. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lab.h"
#include "nat-bridge/netlink.h"
#include "nat-bridge/owner.h"
#include "nat-bridge/plan.h"
#include "nat-bridge/probe.h"

#define LOCALHOST UINT32_C(0x7f000001)

static uint32_t number_of(const char *address)
{
	return ntohl(inet_addr(address));
}

/* Devices of places in this namespace. */
static int leftovers(void)
{
	struct if_nameindex *names = if_nameindex();
	int count = 0;

	for (size_t i = 0; names && names[i].if_index; i++)
		count += strncmp(names[i].if_name, NB_PROBE_PREFIX, strlen(NB_PROBE_PREFIX)) == 0;
	if_freenameindex(names);
	return count;
}

static bool all_gone(int seconds)
{
	int64_t deadline = nb_monotonic_ms() + seconds * 1000;

	while (leftovers()) {
		if (nb_monotonic_ms() > deadline)
			return false;
		usleep(5000);
	}
	return true;
}

static void read_mac(const char *device, char *ret, size_t size)
{
	char command[80];
	FILE *pipe;

	snprintf(command, sizeof(command), "ip link show %s", device);
	pipe = popen(command, "r");
	ret[0] = '\0';
	if (!pipe)
		stop("popen");
	ret[fread(ret, 1, size - 1, pipe)] = '\0';
	pclose(pipe);
}

static void test_join(void)
{
	struct nb_probe_place *place, *other, *none;
	struct nb_error err;
	char before[512], during[512];

	read_mac("brA", before, sizeof(before));
	CHECK(nb_probe_join(lab.nl, "brA", &place, &err) == 0);
	if (!place)
		stop(err.message);
	CHECK(nb_probe_gateway(place) == number_of(GATEWAY));
	CHECK(nb_probe_address(place) >> 8 == number_of(GATEWAY) >> 8);
	CHECK(nb_probe_address(place) != number_of(CLIENT_A));
	CHECK(leftovers() == 1);
	/* the bridge keeps its address and its MTU */
	read_mac("brA", during, sizeof(during));
	CHECK(strcmp(before, during) == 0);
	CHECK(nb_probe_join(lab.nl, "brA", &other, &err) == 0);
	CHECK(other && nb_probe_address(other) != nb_probe_address(place));
	nb_probe_leave(other);
	nb_probe_leave(place);
	CHECK(leftovers() == 0);

	CHECK(nb_probe_join(lab.nl, "absent0", &none, &err) == -ENODEV && !none);
	CHECK(strstr(err.message, "absent0") != NULL);
	run("ip link add brE type bridge && ip link set brE up");
	CHECK(nb_probe_join(lab.nl, "brE", &none, &err) == -EADDRNOTAVAIL && !none);
	run("ip link set brE down && ip address add 10.78.0.1/24 dev brE");
	CHECK(nb_probe_join(lab.nl, "brE", &none, &err) == -ENETDOWN && !none);
	CHECK(leftovers() == 0);
	run("ip link delete brE");
}

/* A network of six hosts, of which each but one is somebody's. */
static void test_free_address(void)
{
	const uint32_t avoid[] = { number_of("10.79.0.6"), number_of("10.79.0.5") };
	struct nb_probe_place *place;
	struct nb_error err;

	run("ip link add brF type bridge && ip link set brF up && "
	    "ip address add 10.79.0.1/29 dev brF");
	run("ip link add portF type veth peer name eth1 netns /proc/%d/fd/%d && "
	    "ip link set portF master brF up",
	    getpid(), lab.b);
	enter(lab.b);
	run("ip link set eth1 up && ip address add 10.79.0.2/29 dev eth1 && "
	    "ip address add 10.79.0.4/29 dev eth1");
	enter(lab.host);
	for (int i = 0; i < 3; i++) {
		CHECK(nb_probe_join_beside(lab.nl, "brF", avoid, 2, &place, &err) == 0);
		CHECK(place && nb_probe_address(place) == number_of("10.79.0.3"));
		nb_probe_leave(place);
	}
	enter(lab.b);
	run("ip address add 10.79.0.3/29 dev eth1");
	enter(lab.host);
	CHECK(nb_probe_join_beside(lab.nl, "brF", avoid, 2, &place, &err) == -EADDRNOTAVAIL);
	run("ip link delete brF && ip link delete portF");
}

static void test_results(void)
{
	int tcp = listen_on(9000), udp = new_socket(SOCK_DGRAM);
	struct nb_probe probes[] = {
		{ .protocol = IPPROTO_TCP, .address = number_of(GATEWAY), .port = 8080 },
		{ .protocol = IPPROTO_TCP, .address = number_of(GATEWAY), .port = 8082 },
		{ .protocol = IPPROTO_TCP, .address = number_of(GATEWAY), .port = 7000 },
		{ .protocol = IPPROTO_UDP, .address = number_of(GATEWAY), .port = 8100 },
		{ .protocol = IPPROTO_UDP, .address = number_of(GATEWAY), .port = 8101 },
		{ .protocol = IPPROTO_TCP, .address = number_of("203.0.113.5"), .port = 80 },
		{ .protocol = IPPROTO_TCP,
		  .address = number_of(GATEWAY),
		  .port = 8080,
		  .source_port = 20001 },
	};
	struct nb_probe_place *place;
	struct nb_error err;
	char byte;

	bind_to(udp, SERVICE, 9100);
	run("nft add table inet site '{ chain c { type filter hook input priority 0; "
	    "tcp dport 7000 drop; }; }'");
	run("ip route add unreachable 203.0.113.5");
	CHECK(nb_probe_join(lab.nl, "brA", &place, &err) == 0);
	if (!place)
		stop(err.message);
	CHECK(nb_probe_run(place, probes, sizeof(probes) / sizeof(probes[0]), 1000, &err) == 0);
	CHECK(probes[0].result == NB_PROBE_CONNECTED && probes[0].source_port);
	CHECK(probes[1].result == NB_PROBE_REFUSED && probes[1].number == ECONNREFUSED);
	CHECK(probes[2].result == NB_PROBE_TIMED_OUT);
	CHECK(probes[3].result == NB_PROBE_SENT);
	CHECK(probes[4].result == NB_PROBE_REFUSED);
	CHECK(probes[5].result == NB_PROBE_UNREACHABLE);
	CHECK(probes[6].result == NB_PROBE_CONNECTED && probes[6].source_port == 20001);
	/* nothing is sent of itself */
	CHECK(recv(udp, &byte, 1, MSG_DONTWAIT) == 0);
	probes[3].payload = "x";
	probes[3].length = 1;
	CHECK(nb_probe_run(place, &probes[3], 1, 100, &err) == 0);
	CHECK(recv(udp, &byte, 1, MSG_DONTWAIT) == 1);
	nb_probe_leave(place);
	run("nft delete table inet site && ip route delete unreachable 203.0.113.5");
	close(tcp);
	close(udp);
}

static void test_raw(void)
{
	int tcp = listen_on(9000), udp = new_socket(SOCK_DGRAM);
	struct nb_raw_probe probes[] = {
		{ .protocol = IPPROTO_TCP, .address = LOCALHOST, .port = 9000 },
		{ .protocol = IPPROTO_TCP, .address = LOCALHOST, .port = 9002 },
		{ .protocol = IPPROTO_UDP, .address = LOCALHOST, .port = 9100 },
		{ .protocol = IPPROTO_UDP, .address = LOCALHOST, .port = 9102 },
		{ .protocol = IPPROTO_TCP, .address = number_of(GATEWAY), .port = 8080 },
	};
	const size_t count = sizeof(probes) / sizeof(probes[0]);
	struct nb_probe_place *place;
	struct nb_probe_ear *ear;
	struct nb_arrival *heard;
	struct nb_error err;
	size_t heard_count;
	char byte;

	bind_to(udp, SERVICE, 9100);
	CHECK(nb_probe_join(lab.nl, "brA", &place, &err) == 0);
	if (!place)
		stop(err.message);
	CHECK(nb_probe_listen(place, &ear, &err) == 0);
	CHECK(nb_probe_raw(place, probes, count, 300, &err) == 0);
	/* the bridge lets them in: that is the control for what follows */
	CHECK(probes[0].result == NB_PROBE_CONNECTED);
	CHECK(probes[1].result == NB_PROBE_REFUSED);
	CHECK(probes[2].result == NB_PROBE_TIMED_OUT);
	CHECK(probes[3].result == NB_PROBE_REFUSED);
	CHECK(probes[4].result == NB_PROBE_CONNECTED);
	CHECK(recv(udp, &byte, 1, MSG_DONTWAIT) == 0);
	CHECK(nb_probe_heard(ear, &heard, &heard_count));
	/* each once, and not the resets that follow */
	CHECK(heard_count == count);
	for (size_t i = 0; i < heard_count; i++)
		CHECK(heard[i].address == LOCALHOST);
	CHECK(heard_count && heard[0].protocol == IPPROTO_TCP &&
	      heard[0].source_port == probes[0].source_port && heard[0].port == 9000);
	free(heard);

	run("nft add table inet site '{ chain c { type filter hook input priority 0; "
	    "ip daddr 127.0.0.0/8 iifname brA drop; }; }'");
	CHECK(nb_probe_raw(place, probes, count, 300, &err) == 0);
	for (size_t i = 0; i < count; i++)
		CHECK(probes[i].result == NB_PROBE_TIMED_OUT);
	CHECK(nb_probe_heard(ear, &heard, &heard_count) && heard_count == 0);
	free(heard);
	run("nft delete table inet site");
	nb_probe_deafen(ear);
	nb_probe_leave(place);
	close(tcp);
	close(udp);
}

static void test_new_network(void)
{
	struct nb_probe_place *place, *other;
	struct nb_error err;
	struct nb_probe probe = { .protocol = IPPROTO_TCP,
				  .address = number_of(GATEWAY),
				  .port = 9001 };
	int any;

	run("ip address add 198.19.0.1/16 dev brA");
	CHECK(nb_probe_new_network(lab.nl, &place, &err) == 0);
	CHECK(nb_probe_new_network(lab.nl, &other, &err) == 0);
	if (!place || !other)
		stop(err.message);
	CHECK(nb_probe_address(place) >> 16 == number_of("198.18.0.0") >> 16);
	CHECK(nb_probe_address(place) != nb_probe_address(other));
	any = listen_dual_stack(9001);
	CHECK(nb_probe_run(place, &probe, 1, 1000, &err) == 0);
	CHECK(probe.result == NB_PROBE_CONNECTED);
	close(any);
	nb_probe_leave(place);
	nb_probe_leave(other);
	CHECK(leftovers() == 0);
	run("ip address add 198.18.0.1/16 dev brA");
	CHECK(nb_probe_new_network(lab.nl, &place, &err) == -EADDRNOTAVAIL && !place);
	run("ip address delete 198.18.0.1/16 dev brA && ip address delete 198.19.0.1/16 dev brA");
}

static bool is_among(const struct nb_owner_list *owners, int bridge, pid_t pid)
{
	for (size_t i = 0; i < owners->count; i++)
		if (owners->items[i].bridge == bridge && owners->items[i].pid == pid)
			return true;
	return false;
}

static void test_enter(void)
{
	struct nb_probe probe = { .protocol = IPPROTO_TCP,
				  .address = number_of(GATEWAY),
				  .port = 8080 };
	int tcp = listen_on(9000), ready[2];
	struct nb_probe_place *place;
	struct nb_owner_list owners;
	struct nb_error err;
	char byte;
	pid_t pid;

	if (pipe(ready) < 0)
		stop("pipe");
	pid = fork();
	if (pid == 0) {
		enter(lab.a);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	CHECK(read(ready[0], &byte, 1) == 1);
	CHECK(nb_probe_enter(pid, &place, &err) == 0);
	if (!place)
		stop(err.message);
	CHECK(nb_probe_run(place, &probe, 1, 1000, &err) == 0);
	CHECK(probe.result == NB_PROBE_CONNECTED);
	CHECK(nb_probe_address(place) == 0);
	CHECK(nb_probe_face(place, number_of(GATEWAY), 24, &err) == 0);
	CHECK(nb_probe_address(place) == number_of(CLIENT_A));
	CHECK(nb_probe_gateway(place) == number_of(GATEWAY));
	/* by its default route, if it has one, but never from that network */
	CHECK(nb_probe_face(place, number_of(OUTSIDE), 24, &err) == -EADDRNOTAVAIL);
	CHECK(nb_probe_face(place, number_of(OUTSIDE), 32, &err) == 0);
	nb_probe_leave(place);
	CHECK(nb_owner_find_all(lab.nl, &owners, &err) == 0);
	CHECK(is_among(&owners, lab.bridge_a, pid) && !is_among(&owners, lab.bridge_b, pid));
	nb_owner_list_clear(&owners);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK(nb_probe_enter(pid, &place, &err) < 0 && !place);
	CHECK(nb_owner_find_all(lab.nl, &owners, &err) == 0 && owners.count == 0);
	nb_owner_list_clear(&owners);
	CHECK(nb_probe_enter(getpid(), &place, &err) == -EINVAL && !place);
	close(ready[0]);
	close(ready[1]);
	close(tcp);
}

static void test_many(void)
{
	enum { MANY = 600 };
	static struct nb_probe probes[MANY];
	struct nb_probe_place *place;
	int64_t started;
	struct nb_error err;

	run("nft add table inet site '{ chain c { type filter hook input priority 0; "
	    "tcp dport 7000 drop; }; }'");
	CHECK(nb_probe_join(lab.nl, "brA", &place, &err) == 0);
	if (!place)
		stop(err.message);
	for (int i = 0; i < MANY; i++)
		probes[i] = (struct nb_probe){ .protocol = IPPROTO_TCP,
					       .address = number_of(GATEWAY),
					       .port = i % 2 ? 7000 : 8082 };
	started = nb_monotonic_ms();
	CHECK(nb_probe_run(place, probes, MANY, 500, &err) == 0);
	CHECK(nb_monotonic_ms() - started < 4000);
	for (int i = 0; i < MANY; i++)
		CHECK(probes[i].result == (i % 2 ? NB_PROBE_TIMED_OUT : NB_PROBE_REFUSED));
	nb_probe_leave(place);
	run("nft delete table inet site");
}

/* Killed at any moment, nothing stays. */
static void test_kill(void)
{
	for (int i = 0; i < 60; i++) {
		/* a place is made in some 400 ms, most of it waiting for who has an address */
		struct timespec delay = { .tv_nsec = (i < 40 ? i * 500 : (i - 40) * 25000) *
						     1000L };
		pid_t pid = fork();

		if (pid == 0) {
			struct nb_netlink *nl = nb_netlink_new();
			struct nb_probe_place *place;
			struct nb_error err;

			if (i % 2)
				nb_probe_new_network(nl, &place, &err);
			else
				nb_probe_join(nl, "brA", &place, &err);
			pause();
		}
		nanosleep(&delay, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	CHECK(all_gone(10));
	run("test -z \"$(ip address show to 198.18.0.0/15)\"");
}

int main(void)
{
	build_lab();
	CHECK(leftovers() == 0);
	test_join();
	test_free_address();
	test_results();
	test_raw();
	test_new_network();
	test_enter();
	test_many();
	test_kill();
	return finish_lab();
}
