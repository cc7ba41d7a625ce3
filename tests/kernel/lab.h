/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host with two bridges, made of network namespaces in this process.
 *
 *   client a 10.77.0.2 --- brA 10.77.0.1 ---+
 *                                           +--- host, services on 127.0.0.1
 *   client b 10.77.0.3 --- brB 10.77.0.1 ---+
 *                                           +--- out 192.0.2.1 --- 192.0.2.2 outside
 *
 * Both bridges have the same subnet: only a route tells where 10.77.0.3 is.
 *
 * Everything goes with this process, which never touches the namespace in
 * which it was started. A socket belongs to the namespace in which it was
 * made, so that one process can play every part, in an order that it chooses.
 */
#ifndef NAT_BRIDGE_TESTS_LAB_H
#define NAT_BRIDGE_TESTS_LAB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define GATEWAY	 "10.77.0.1"
#define CLIENT_A "10.77.0.2"
#define CLIENT_B "10.77.0.3"
#define ROUTED	 "198.51.100.9" /* client a's as well, in no subnet of brA */
#define SNATTED	 "10.77.0.99"
#define OUTSIDE	 "192.0.2.2"
#define SERVICE	 "127.0.0.1"

struct lab {
	int host; /* network namespaces */
	int a;
	int b;
	int outside;
	int bridge_a; /* ifindex */
	int bridge_b;
	struct nb_netlink *nl;
};

extern struct lab lab;

#define CHECK(condition) check((condition), #condition, __func__, __LINE__)
void check(bool ok, const char *condition, const char *function, int line);

/* What the test cannot go on without. */
_Noreturn void stop(const char *what);
void run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Build the lab, or exit with 77: skipped (1 if NB_FORBID_SKIP is set). */
void build_lab(void);
/* Take it down and return the exit status. */
int finish_lab(void);
/* Make the next sockets, or run the next command, in @namespace. */
void enter(int namespace);

struct sockaddr_in;
struct sockaddr_in place(const char *address, uint16_t port);
int new_socket(int type); /* IPv4; receives for 3 seconds at most */
void bind_to(int fd, const char *address, uint16_t port);
void connect_to(int fd, const char *address, uint16_t port);
int listen_on(uint16_t port); /* on 127.0.0.1 */
int listen_dual_stack(uint16_t port);
/* A socket of a client, connected to @port of the gateway. @source may be NULL. */
int dial(int namespace, int type, const char *source, uint16_t port);
/* Does what @from sends reach @to? */
bool says(int from, int to);
/* Does an unconnected UDP @server hear @client, and its answer come back? */
bool asks(int client, int server);
/* The error that is pending on @fd within @milliseconds, or 0. */
int error_within(int fd, int milliseconds);

/* A TCP connection, both ends. */
struct connection {
	int client;
	int service;
};

bool talks(const struct connection *connection);
struct connection open_connection(int namespace, int listener, const char *source, uint16_t port);
void close_connection(struct connection *connection);

#endif
