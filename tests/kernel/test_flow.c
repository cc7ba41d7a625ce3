/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live flows on a real kernel: counted, ended, freed; and everything beside them lives on.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lab.h"
#include "nat-bridge/flow.h"
#include "netlink/conntrack.h"
#include "netlink/sockdiag.h"

static struct nb_flow_match match_of(int ifindex, uint8_t protocol, uint16_t port, uint16_t target)
{
	struct nb_flow_match match = { .ifindex = ifindex, .protocol = protocol, .port = port };

	match.target.address = INADDR_LOOPBACK;
	match.target.port = target;
	return match;
}

static void end(const struct nb_flow_match *match, size_t flows, size_t sockets)
{
	struct nb_flow_result result = { 99, 99 };
	struct nb_warnings warnings = { 0 };
	struct nb_error err;
	int r = nb_flow_end(lab.nl, match, 1, NULL, 0, &result, &warnings, &err);

	if (r < 0)
		fprintf(stderr, "%s\n", err.message);
	if (result.flows != flows || result.sockets != sockets)
		fprintf(stderr, "port %u: %zu flows, %zu sockets; expected %zu, %zu\n", match->port,
			result.flows, result.sockets, flows, sockets);
	CHECK(r == 0);
	CHECK(result.flows == flows);
	CHECK(result.sockets == sockets);
	CHECK(warnings.count == 0);
	nb_warnings_clear(&warnings);
}

static uint64_t count_of(const struct nb_flow_match *match)
{
	struct nb_error err;
	uint64_t count = 99;

	CHECK(nb_flow_count(lab.nl, match, 1, &count, &err) == 0);
	return count;
}

static bool has_port(const struct nb_conntrack *entry, const void *data)
{
	const uint16_t *port = data;

	return entry->original.destination_port == *port;
}

/* All entries that dialled @port, whoever they belong to. */
static size_t entries_of(uint16_t port)
{
	struct nb_conntrack_list list = { 0 };
	struct nb_error err;
	size_t count;

	CHECK(nb_conntrack_dump(lab.nl, 0, 0, has_port, &port, &list, &err) == 0);
	count = list.count;
	nb_conntrack_list_clear(&list);
	return count;
}

static void test_tcp(void)
{
	struct nb_flow_match ours = match_of(lab.bridge_a, IPPROTO_TCP, 8080, 9000);
	struct nb_flow_match theirs = match_of(lab.bridge_b, IPPROTO_TCP, 8080, 9000);
	struct nb_flow_match wrong = match_of(lab.bridge_a, IPPROTO_TCP, 8080, 9001);
	struct nb_flow_match all[] = { theirs, ours, wrong, ours };
	uint64_t counts[4] = { 99, 99, 99, 99 };
	int listener = listen_on(9000);
	struct connection first = open_connection(lab.a, listener, NULL, 8080);
	struct connection second = open_connection(lab.a, listener, NULL, 8080);
	struct connection other_bridge = open_connection(lab.b, listener, NULL, 8080);
	struct connection other_port = open_connection(lab.a, listener, NULL, 8081);
	struct connection again;
	struct nb_error err;

	CHECK(nb_flow_count(lab.nl, all, 4, counts, &err) == 0);
	CHECK(counts[0] == 1 && counts[1] == 2 && counts[2] == 0 && counts[3] == 2);

	end(&wrong, 0, 0);
	CHECK(talks(&first));

	run("nft delete element ip lab targets '{ \"brA\" . tcp . 8080 }'");
	end(&ours, 2, 2);
	CHECK(error_within(first.client, 1000) == ECONNRESET);
	CHECK(error_within(second.client, 1000) == ECONNRESET);
	CHECK(error_within(first.service, 1000) == ECONNABORTED);
	CHECK(talks(&other_bridge));
	CHECK(talks(&other_port));
	CHECK(count_of(&ours) == 0);
	CHECK(count_of(&theirs) == 1);
	end(&ours, 0, 0);

	/* the listener */
	again = open_connection(lab.b, listener, NULL, 8080);
	close_connection(&again);
	again = open_connection(lab.a, listener, NULL, 8081);
	close_connection(&again);

	close_connection(&first);
	close_connection(&second);
	close_connection(&other_bridge);
	close_connection(&other_port);
	close(listener);
}

static void test_dual_stack_listener(void)
{
	struct nb_flow_match match = match_of(lab.bridge_a, IPPROTO_TCP, 8082, 9001);
	int listener = listen_dual_stack(9001);
	struct connection connection = open_connection(lab.a, listener, NULL, 8082);
	struct connection again;

	end(&match, 1, 1);
	CHECK(error_within(connection.client, 1000) == ECONNRESET);
	again = open_connection(lab.a, listener, NULL, 8082);
	close_connection(&again);
	close_connection(&connection);
	close(listener);
}

static void test_zones(void)
{
	struct nb_flow_match both = match_of(lab.bridge_a, IPPROTO_TCP, 8083, 9003);
	struct nb_flow_match original = match_of(lab.bridge_a, IPPROTO_TCP, 8084, 9004);
	int first = listen_on(9003), second = listen_on(9004);
	struct connection in_both = open_connection(lab.a, first, NULL, 8083);
	struct connection in_original = open_connection(lab.a, second, NULL, 8084);

	end(&both, 1, 1);
	CHECK(entries_of(8083) == 0);
	CHECK(error_within(in_both.client, 1000) == ECONNRESET);
	CHECK(talks(&in_original));
	end(&original, 1, 1);
	CHECK(entries_of(8084) == 0);
	CHECK(error_within(in_original.client, 1000) == ECONNRESET);
	close_connection(&in_both);
	close_connection(&in_original);
	close(first);
	close(second);
}

/* Somebody rewrites sources on the way in: the service's peer is not the client's address. */
static void test_translated_source(void)
{
	struct nb_flow_match match = match_of(lab.bridge_a, IPPROTO_TCP, 8085, 9000);
	int listener = listen_on(9000);
	struct connection connection = open_connection(lab.a, listener, NULL, 8085);
	struct sockaddr_in peer = { 0 };
	socklen_t length = sizeof(peer);

	CHECK(getpeername(connection.service, (struct sockaddr *)&peer, &length) == 0);
	CHECK(peer.sin_addr.s_addr == inet_addr(SNATTED));
	end(&match, 1, 1);
	CHECK(error_within(connection.client, 1000) == ECONNRESET);
	close_connection(&connection);
	close(listener);
}

/* A source behind a router on the bridge, in none of the bridge's subnets. */
static void test_routed_source(void)
{
	struct nb_flow_match match = match_of(lab.bridge_a, IPPROTO_TCP, 8086, 9000);
	int listener = listen_on(9000);
	struct connection connection = open_connection(lab.a, listener, ROUTED, 8086);

	CHECK(count_of(&match) == 1);
	end(&match, 1, 1);
	CHECK(error_within(connection.client, 1000) == ECONNRESET);
	close_connection(&connection);
	close(listener);
}

/* A closed connection stays tracked for two minutes; nobody would call it live. */
static void test_closed(void)
{
	struct nb_flow_match match = match_of(lab.bridge_a, IPPROTO_TCP, 8086, 9000);
	int listener = listen_on(9000);
	struct connection connection = open_connection(lab.a, listener, NULL, 8086);
	struct nb_flow_result result = { 0 };
	struct nb_warnings warnings = { 0 };
	struct nb_error err;

	CHECK(count_of(&match) == 1);
	close_connection(&connection);
	for (int i = 0; i < 50 && count_of(&match) != 0; i++)
		usleep(20000);
	CHECK(count_of(&match) == 0);
	CHECK(entries_of(8086) == 1);
	CHECK(nb_flow_end(lab.nl, &match, 1, NULL, 0, &result, &warnings, &err) == 0);
	CHECK(result.flows == 1 && result.sockets == 0);
	CHECK(entries_of(8086) == 0);
	nb_warnings_clear(&warnings);
	close(listener);
}

/* The service has closed, the client has not: FIN_WAIT2, later a mere timewait entry. */
static void test_half_closed(void)
{
	struct nb_flow_match match = match_of(lab.bridge_a, IPPROTO_TCP, 8086, 9000);
	int listener = listen_on(9000);
	struct connection orphan = open_connection(lab.a, listener, NULL, 8086);
	struct connection waiting = open_connection(lab.a, listener, NULL, 8086);
	struct nb_flow_result result = { 0 };
	struct nb_warnings warnings = { 0 };
	struct nb_error err;

	close(orphan.service);
	shutdown(waiting.client, SHUT_WR);
	CHECK(nb_flow_end(lab.nl, &match, 1, NULL, 0, &result, &warnings, &err) == 0);
	CHECK(result.flows == 2);
	CHECK(warnings.count == 0);
	CHECK(error_within(waiting.client, 1000) == ECONNRESET);
	nb_warnings_clear(&warnings);
	close(orphan.client);
	close_connection(&waiting);
	close(listener);
}

/* The client's SYN came in, but no answer gets out: a request of the listener, no socket yet. */
static void test_half_open(void)
{
	struct nb_flow_match match = match_of(lab.bridge_a, IPPROTO_TCP, 8086, 9000);
	struct sockaddr_in name = place(GATEWAY, 8086);
	int listener = listen_on(9000), client;
	struct nb_flow_result result = { 0 };
	struct nb_warnings warnings = { 0 };
	struct connection again;
	struct nb_error err;

	run("nft 'add chain ip lab mute { type filter hook postrouting priority 200; }' && "
	    "nft add rule ip lab mute oifname brA tcp sport 8086 drop && "
	    "nft add rule ip lab mute oifname brA tcp sport 9000 drop");
	enter(lab.a);
	client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	CHECK(connect(client, (struct sockaddr *)&name, sizeof(name)) < 0 && errno == EINPROGRESS);
	enter(lab.host);
	CHECK(nb_flow_end(lab.nl, &match, 1, NULL, 0, &result, &warnings, &err) == 0);
	CHECK(result.flows == 1 && result.sockets == 1);
	CHECK(warnings.count == 0);
	close(client);
	run("nft flush chain ip lab mute && nft delete chain ip lab mute");
	again = open_connection(lab.a, listener, NULL, 8086);
	close_connection(&again);
	nb_warnings_clear(&warnings);
	close(listener);
}

static void test_unconnected_udp(void)
{
	struct nb_flow_match ours = match_of(lab.bridge_a, IPPROTO_UDP, 8100, 9100);
	struct nb_flow_match theirs = match_of(lab.bridge_b, IPPROTO_UDP, 8100, 9100);
	int server = new_socket(SOCK_DGRAM), a, b;

	bind_to(server, SERVICE, 9100);
	a = dial(lab.a, SOCK_DGRAM, NULL, 8100);
	b = dial(lab.b, SOCK_DGRAM, NULL, 8100);
	CHECK(asks(a, server));
	CHECK(asks(b, server));
	run("nft delete element ip lab targets '{ \"brA\" . udp . 8100 }'");
	end(&ours, 1, 0);
	CHECK(error_within(server, 50) == 0);
	CHECK(count_of(&theirs) == 1);
	CHECK(entries_of(8100) == 1);
	CHECK(asks(b, server));
	CHECK(send(a, "ask", 3, 0) == 3);
	CHECK(error_within(a, 1000) == ECONNREFUSED);
	close(a);
	close(b);
	close(server);
}

static void test_connected_udp(void)
{
	struct nb_flow_match match = match_of(lab.bridge_a, IPPROTO_UDP, 8101, 9101);
	int server = new_socket(SOCK_DGRAM), session = new_socket(SOCK_DGRAM);
	int bystander = new_socket(SOCK_DGRAM), client, local;
	struct sockaddr_in peer = { 0 };
	socklen_t length = sizeof(peer);
	char buffer[8];

	bind_to(server, SERVICE, 9101);
	client = dial(lab.a, SOCK_DGRAM, NULL, 8101);
	CHECK(send(client, "ask", 3, 0) == 3);
	CHECK(recvfrom(server, buffer, sizeof(buffer), 0, (struct sockaddr *)&peer, &length) == 3);
	bind_to(session, SERVICE, 9101);
	if (connect(session, (struct sockaddr *)&peer, sizeof(peer)) < 0)
		stop("connect");
	/* connected, too, but to nobody's flow */
	bind_to(bystander, SERVICE, 9101);
	connect_to(bystander, CLIENT_A, (uint16_t)(ntohs(peer.sin_port) ^ 1));
	CHECK(says(session, client));
	CHECK(says(client, session));

	end(&match, 1, 1);
	CHECK(error_within(session, 1000) == ECONNABORTED);
	CHECK(error_within(bystander, 50) == 0);
	/* as a service does that saw the error; an aborted socket stays bound, unconnected */
	close(session);
	local = new_socket(SOCK_DGRAM);
	connect_to(local, SERVICE, 9101);
	CHECK(asks(local, server));
	close(local);
	close(client);
	close(bystander);
	close(server);
}

static bool any_socket(const struct nb_socket *socket, const void *data)
{
	(void)socket;
	(void)data;
	return true;
}

/* A socket that closed between dump and destroy: the kernel looks further, and finds the server. */
static void test_gone_socket(void)
{
	int listener = listen_on(9000), server = new_socket(SOCK_DGRAM);
	int session = new_socket(SOCK_DGRAM), client;
	struct connection connection = open_connection(lab.a, listener, NULL, 8086);
	struct nb_socket_list list = { 0 };
	struct nb_netlink_ack ack;

	bind_to(server, SERVICE, 9101);
	bind_to(session, SERVICE, 9101);
	connect_to(session, SERVICE, 9999);
	CHECK(nb_sockdiag_dump(lab.nl, AF_INET, IPPROTO_TCP, 9000, any_socket, NULL, &list, &ack) ==
	      0);
	CHECK(list.count == 1);
	CHECK(nb_sockdiag_dump(lab.nl, AF_INET, IPPROTO_UDP, 9101, any_socket, NULL, &list, &ack) ==
	      0);
	CHECK(list.count == 2);
	/* a reset leaves no timewait entry behind */
	setsockopt(connection.service, SOL_SOCKET, SO_LINGER,
		   &(struct linger){ .l_onoff = 1, .l_linger = 0 }, sizeof(struct linger));
	close_connection(&connection);
	close(session);
	for (size_t i = 0; i < list.count; i++)
		CHECK(nb_sockdiag_destroy(lab.nl, &list.items[i], &ack) == 0);
	nb_socket_list_clear(&list);

	connection = open_connection(lab.a, listener, NULL, 8086);
	close_connection(&connection);
	CHECK(error_within(server, 50) == 0);
	client = dial(lab.a, SOCK_DGRAM, NULL, 8101);
	CHECK(asks(client, server));
	close(client);
	close(server);
	close(listener);
}

static void send_from(int namespace, const char *to, uint16_t port)
{
	struct sockaddr_in name = place(to, port);
	int fd;

	enter(namespace);
	fd = new_socket(SOCK_DGRAM);
	bind_to(fd, "0.0.0.0", 5555);
	if (sendto(fd, "early", 5, 0, (struct sockaddr *)&name, sizeof(name)) != 5)
		stop("sendto");
	close(fd);
	enter(lab.host);
}

static void test_untranslated(void)
{
	struct nb_flow_match matches[] = {
		match_of(lab.bridge_a, IPPROTO_TCP, 8201, 9200),
		match_of(lab.bridge_a, IPPROTO_UDP, 8200, 9200),
	};
	struct nb_flow_match translated = match_of(lab.bridge_b, IPPROTO_UDP, 8100, 9100);
	struct nb_error err;
	int b = dial(lab.b, SOCK_DGRAM, NULL, 8100);

	send_from(lab.a, GATEWAY, 8200);
	send_from(lab.b, GATEWAY, 8200);
	send_from(lab.a, GATEWAY, 8201);
	send_from(lab.a, OUTSIDE, 8200);
	CHECK(send(b, "ask", 3, 0) == 3);
	CHECK(entries_of(8200) == 3);

	CHECK(nb_flow_free_untranslated(lab.nl, matches, 2, &err) == 1);
	/* client b's, and the one that passes through to the outside */
	CHECK(entries_of(8200) == 2);
	CHECK(entries_of(8201) == 1);
	CHECK(nb_flow_free_untranslated(lab.nl, matches, 2, &err) == 0);
	CHECK(nb_flow_free_untranslated(lab.nl, matches, 1, &err) == 0);
	CHECK(nb_flow_free_untranslated(lab.nl, NULL, 0, &err) == 0);
	/* translated flows are none of its business */
	CHECK(nb_flow_free_untranslated(lab.nl, &translated, 1, &err) == 0);
	CHECK(entries_of(8100) >= 1);
	close(b);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* 65,000 matches and many flows: no product of the two. */
static void test_scale(void)
{
	enum { MATCHES = 65000, FLOWS = 10000 };
	struct nb_flow_match *matches = calloc(MATCHES, sizeof(*matches));
	uint64_t *counts = calloc(MATCHES, sizeof(*counts));
	struct nb_flow_result result = { 0 };
	struct nb_warnings warnings = { 0 };
	struct nb_error err;
	double start, counted, ended;

	if (!matches || !counts)
		stop("calloc");
	for (size_t i = 0; i < MATCHES; i++)
		matches[i] = match_of(lab.bridge_a, IPPROTO_UDP, (uint16_t)(i + 1),
				      i == 8299 ? 9300 : 1);
	enter(lab.a);
	for (int i = 0; i < FLOWS; i++) {
		struct sockaddr_in name = place(GATEWAY, 8300);
		int fd = new_socket(SOCK_DGRAM);

		bind_to(fd, "0.0.0.0", (uint16_t)(20000 + i));
		if (sendto(fd, "x", 1, 0, (struct sockaddr *)&name, sizeof(name)) != 1)
			stop("sendto");
		close(fd);
	}
	enter(lab.host);

	start = seconds();
	CHECK(nb_flow_count(lab.nl, matches, MATCHES, counts, &err) == 0);
	counted = seconds();
	CHECK(counts[8299] == FLOWS && counts[8298] == 0);
	CHECK(nb_flow_end(lab.nl, matches, MATCHES, NULL, 0, &result, &warnings, &err) == 0);
	ended = seconds();
	CHECK(result.flows == FLOWS);
	CHECK(result.sockets == 0);
	CHECK(ended - start < 10);
	printf("%d matches, %d flows: counted in %.3f s, ended in %.3f s\n", MATCHES, FLOWS,
	       counted - start, ended - counted);
	nb_warnings_clear(&warnings);
	free(matches);
	free(counts);
}

/* Errors are told, and outputs stay untouched. */
static void test_no_privilege(void)
{
	struct nb_flow_match match = match_of(lab.bridge_a, IPPROTO_TCP, 8080, 9000);
	struct nb_netlink *nl = nb_netlink_new();
	struct nb_flow_result result = { 7, 7 };
	struct nb_warnings warnings = { 0 };
	struct nb_error err = { 0 };
	uint64_t count = 7;

	if (!nl || seteuid(65534) < 0)
		stop("seteuid");
	CHECK(nb_flow_count(nl, &match, 1, &count, &err) == -EPERM);
	CHECK(nb_flow_end(nl, &match, 1, NULL, 0, &result, &warnings, &err) == -EPERM);
	CHECK(nb_flow_free_untranslated(nl, &match, 0, &err) == 0);
	if (seteuid(0) < 0)
		stop("seteuid");
	CHECK(count == 7 && result.flows == 7 && result.sockets == 7);
	CHECK(strcmp(err.code, "permission") == 0);
	nb_warnings_clear(&warnings);
	nb_netlink_free(nl);
}

int main(void)
{
	build_lab();
	test_tcp();
	test_dual_stack_listener();
	test_zones();
	test_translated_source();
	test_routed_source();
	test_closed();
	test_half_closed();
	test_half_open();
	test_unconnected_udp();
	test_connected_udp();
	test_gone_socket();
	test_untranslated();
	test_no_privilege();
	test_scale();
	return finish_lab();
}
