/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live flows on a kernel that lacks something or refuses. The real kernel
 * answers, except where a fault is set. Link with -Wl,--wrap=nb_netlink_ask.
 */
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lab.h"
#include "nat-bridge/flow.h"
#include "nat-bridge/route.h"

#define CT_GET	  (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET)
#define CT_DELETE (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE)

static struct {
	int bus;
	uint16_t type;
	int number; /* negative errno */
	int skip;   /* so many requests get through before */
	int times;  /* so many are refused */
	int asked;
} fault;

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker makes these names */
int __real_nb_netlink_ask(struct nb_netlink *nl, int bus, struct nlmsghdr *request,
			  int (*callback)(const struct nlmsghdr *message, void *data), void *data,
			  struct nb_netlink_ack *ack);
int __wrap_nb_netlink_ask(struct nb_netlink *nl, int bus, struct nlmsghdr *request,
			  int (*callback)(const struct nlmsghdr *message, void *data), void *data,
			  struct nb_netlink_ack *ack);
/* NOLINTEND(bugprone-reserved-identifier) */

int __wrap_nb_netlink_ask(struct nb_netlink *nl, int bus, struct nlmsghdr *request,
			  int (*callback)(const struct nlmsghdr *message, void *data), void *data,
			  struct nb_netlink_ack *ack)
{
	if (bus != fault.bus || request->nlmsg_type != fault.type)
		return __real_nb_netlink_ask(nl, bus, request, callback, data, ack);
	fault.asked++;
	if (fault.asked <= fault.skip || fault.asked > fault.skip + fault.times)
		return __real_nb_netlink_ask(nl, bus, request, callback, data, ack);
	if (fault.number == -EINTR) {
		int r = __real_nb_netlink_ask(nl, bus, request, callback, data, ack);

		/* an inconsistent dump shows its entries all the same */
		return r < 0 ? r : -EINTR;
	}
	if (ack)
		memset(ack, 0, sizeof(*ack));
	return fault.number;
}

static void set_fault(int bus, uint16_t type, int number, int skip, int times)
{
	fault.bus = bus;
	fault.type = type;
	fault.number = number;
	fault.skip = skip;
	fault.times = times;
	fault.asked = 0;
}

#define FOR_EVER 1000000

/* What nb_flow_end() makes of one connection under the fault. */
static void expect(const char *what, int result, size_t flows, size_t sockets, size_t warnings,
		   const char *words)
{
	static const struct nb_flow_match match = {
		.protocol = IPPROTO_TCP,
		.port = 8086,
		.target = { .address = INADDR_LOOPBACK, .port = 9000 },
	};
	struct nb_flow_match ours = match;
	int listener = listen_on(9000);
	struct connection connection = open_connection(lab.a, listener, NULL, 8086);
	struct nb_flow_result got = { 99, 99 };
	struct nb_warnings warned = { 0 };
	struct nb_error err = { 0 };
	int r, asked = fault.asked;

	ours.ifindex = lab.bridge_a;
	r = nb_flow_end(lab.nl, &ours, 1, NULL, 0, &got, &warned, &err);
	asked = fault.asked - asked;
	printf("%s: %d, %zu flows, %zu sockets, %d asked: %s\n", what, r, got.flows, got.sockets,
	       asked,
	       r < 0	      ? err.message
	       : warned.count ? warned.items[0]
			      : "");
	CHECK(r == result);
	if (r < 0) {
		CHECK(got.flows == 99 && got.sockets == 99);
		CHECK(strstr(err.message, words) != NULL);
	} else {
		CHECK(got.flows == flows && got.sockets == sockets);
		if (warned.count)
			CHECK(strstr(warned.items[0], words) != NULL);
	}
	CHECK(warned.count == warnings);
	CHECK(asked > 0);
	nb_warnings_clear(&warned);

	/* mended: nothing of it is left, and the listener lives */
	fault.times = 0;
	CHECK(nb_flow_end(lab.nl, &ours, 1, NULL, 0, &got, &warned, &err) == 0);
	nb_warnings_clear(&warned);
	close_connection(&connection);
	connection = open_connection(lab.a, listener, NULL, 8086);
	CHECK(nb_flow_end(lab.nl, &ours, 1, NULL, 0, &got, &warned, &err) == 0);
	close_connection(&connection);
	close(listener);
}

/* Linux before 5.15 sends every entry, whatever its status. */
static void test_status_checked_here(void)
{
	struct nb_flow_match match = { .ifindex = lab.bridge_a,
				       .protocol = IPPROTO_UDP,
				       .port = 8101,
				       .target = { INADDR_LOOPBACK, 9101 } };
	int client = dial(lab.a, SOCK_DGRAM, NULL, 8101);
	struct nb_error err;
	uint64_t count = 0;

	CHECK(send(client, "x", 1, 0) == 1);
	set_fault(NETLINK_NETFILTER, CT_GET, -EINVAL, 0, 1);
	CHECK(nb_flow_free_untranslated(lab.nl, &match, 1, &err) == 0);
	CHECK(fault.asked == 2);
	CHECK(nb_flow_count(lab.nl, &match, 1, &count, &err) == 0);
	CHECK(count == 1);
	close(client);
}

/* What is seen in a dump that somebody disturbs is not seen twice, and not missed. */
static void check_interrupted_dumps(struct nb_error *err)
{
	const struct nb_route_flow flow = { .address = ntohl(place(CLIENT_B, 0).sin_addr.s_addr),
					    .mark = 7 };
	struct nb_route_policies policies;
	struct nb_route_mark_list marks;
	struct nb_route_entry entry;

	run("ip rule add pref 77 fwmark 7 prohibit");
	set_fault(NETLINK_ROUTE, RTM_GETRULE, -EINTR, 0, 3);
	CHECK(nb_route_policies(lab.nl, &flow, &policies, err) == 0);
	CHECK(policies.count == 1 && policies.first == 77);
	set_fault(NETLINK_ROUTE, RTM_GETRULE, -EINTR, 0, 3);
	CHECK(nb_route_marks(lab.nl, &marks, err) == 0);
	CHECK(marks.count == 1 && marks.items[0].value == 7);
	free(marks.items);
	set_fault(NETLINK_ROUTE, RTM_GETRULE, -EINTR, 0, FOR_EVER);
	CHECK(nb_route_policies(lab.nl, &flow, &policies, err) == -EINTR);
	run("ip rule del pref 77");
	set_fault(NETLINK_ROUTE, RTM_GETROUTE, -EINTR, 0, 3);
	CHECK(nb_route_find(lab.nl, flow.address, &entry, err) == 1);
	CHECK(entry.ifindex == lab.bridge_b && entry.length == 32);
}

int main(void)
{
	struct nb_error err;

	build_lab();

	set_fault(NETLINK_NETFILTER, CT_GET, 0, 0, 0);
	expect("no fault", 0, 1, 1, 0, "");
	CHECK(fault.asked == 5); /* two each time that it found one: the filter was accepted */
	test_status_checked_here();

	set_fault(NETLINK_NETFILTER, CT_GET, -EINVAL, 0, 1);
	expect("no status filter (before 5.15, were it strict)", 0, 1, 1, 0, "");
	set_fault(NETLINK_NETFILTER, CT_GET, -EINVAL, 0, FOR_EVER);
	expect("no ctnetlink", -EINVAL, 0, 0, 0, "nf_conntrack_netlink");
	set_fault(NETLINK_NETFILTER, CT_GET, -EPERM, 0, FOR_EVER);
	expect("not permitted", -EPERM, 0, 0, 0, "root");
	set_fault(NETLINK_NETFILTER, CT_GET, -EINTR, 0, 3);
	expect("interrupted dumps", 0, 1, 1, 0, "");
	set_fault(NETLINK_NETFILTER, CT_GET, -EINTR, 0, FOR_EVER);
	expect("interrupted for ever", -EINTR, 0, 0, 0, "try again");

	set_fault(NETLINK_NETFILTER, CT_DELETE, -ENOENT, 0, 1);
	expect("entry gone, and back", 0, 1, 1, 0, "");
	set_fault(NETLINK_NETFILTER, CT_DELETE, -ENOENT, 0, FOR_EVER);
	expect("entries that never go: bounded", 0, 0, 1, 0, "");
	set_fault(NETLINK_NETFILTER, CT_DELETE, -ENOMEM, 0, 1);
	expect("out of memory", -ENOMEM, 0, 0, 0, "memory");

	set_fault(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, -ENOENT, 0, FOR_EVER);
	expect("no tcp_diag", 0, 1, 0, 1, "tcp_diag");
	set_fault(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, -ENOENT, 1, FOR_EVER);
	expect("no IPv6", 0, 1, 1, 0, "");
	set_fault(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, -EPROTONOSUPPORT, 0, FOR_EVER);
	expect("no sock_diag", 0, 1, 0, 1, "lacks tcp_diag");
	set_fault(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, -EINTR, 0, FOR_EVER);
	expect("interrupted sockets", 0, 1, 1, 0, "");
	set_fault(NETLINK_SOCK_DIAG, SOCK_DESTROY, -EOPNOTSUPP, 0, FOR_EVER);
	expect("no SOCK_DESTROY", 0, 1, 0, 1, "CONFIG_INET_DIAG_DESTROY");
	set_fault(NETLINK_SOCK_DIAG, SOCK_DESTROY, -EPERM, 0, FOR_EVER);
	expect("SOCK_DESTROY refused", 0, 1, 0, 1, "not permitted");
	set_fault(NETLINK_SOCK_DIAG, SOCK_DESTROY, -ENOENT, 0, FOR_EVER);
	expect("socket gone", 0, 1, 0, 0, "");

	set_fault(NETLINK_ROUTE, RTM_GETROUTE, -ENOBUFS, 0, FOR_EVER);
	expect("no route to be had", -ENOBUFS, 0, 0, 0, "route");
	set_fault(NETLINK_ROUTE, RTM_GETROUTE, -EINTR, 0, 3);
	CHECK(nb_route_is_default(lab.nl, lab.bridge_a, &err) == 0);
	CHECK(fault.asked == 5);
	set_fault(NETLINK_ROUTE, RTM_GETROUTE, -EPERM, 0, 1);
	CHECK(nb_route_is_default(lab.nl, lab.bridge_a, &err) == -EPERM);
	set_fault(NETLINK_ROUTE, RTM_GETROUTE, -EAFNOSUPPORT, 1, 1);
	CHECK(nb_route_is_default(lab.nl, lab.bridge_a, &err) == 0);

	check_interrupted_dumps(&err);

	set_fault(-1, 0, 0, 0, 0);
	return finish_lab();
}
