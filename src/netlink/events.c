/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two multicast sockets. Nothing is kept of what events say, because some may be lost:
 * they are reasons to look.
 *
 * nf_tables sends the messages of a commit, and then NEWGEN with its generation and who made it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "nat-bridge/events.h"
#include "nat-bridge/probe.h"
#include "nat-bridge/ruleset.h"

#define BUFFER_SIZE   32768
#define GROUP(number) (1u << ((number)-1))
/* The program's own name, as the kernel knows it. */
#define OWN_NAME "nat-bridge"

struct nb_events {
	struct mnl_socket *ruleset;
	struct mnl_socket *devices;
	/* of the commit whose messages are being read */
	bool relevant;
	bool ours;
	bool removed;
	uint32_t touched; /* the last commit in which a nat-bridge changed our table */
	/* what devices became, since it was asked to listen for that */
	struct nb_device_changes heard;
	bool strange; /* more than that can say */
	_Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
};

static struct mnl_socket *open_socket(int bus, unsigned int groups)
{
	struct mnl_socket *socket = mnl_socket_open2(bus, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (socket && mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID) < 0) {
		int number = errno;

		mnl_socket_close(socket);
		errno = number;
		return NULL;
	}
	return socket;
}

struct nb_events *nb_events_open(struct nb_error *err)
{
	struct nb_events *events = calloc(1, sizeof(*events));

	if (!events) {
		nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
		return NULL;
	}
	events->ruleset = open_socket(NETLINK_NETFILTER, GROUP(NFNLGRP_NFTABLES));
	if (events->ruleset)
		events->devices = open_socket(NETLINK_ROUTE,
					      GROUP(RTNLGRP_LINK) | GROUP(RTNLGRP_TC));
	if (!events->devices) {
		nb_netlink_error(err, NULL, errno ? -errno : -EIO, "listen to the kernel");
		nb_events_close(events);
		return NULL;
	}
	return events;
}

void nb_events_close(struct nb_events *events)
{
	if (!events)
		return;
	if (events->ruleset)
		mnl_socket_close(events->ruleset);
	if (events->devices)
		mnl_socket_close(events->devices);
	free(events);
}

void nb_events_descriptors(const struct nb_events *events, int *ret_ruleset, int *ret_devices)
{
	*ret_ruleset = mnl_socket_get_fd(events->ruleset);
	*ret_devices = mnl_socket_get_fd(events->devices);
}

/* In all of these messages attribute 1 is the table's name. */
static bool is_of_our_table(const struct nlmsghdr *message)
{
	const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
	struct nlattr *attr;

	if (header->nfgen_family != NFPROTO_INET)
		return false;
	mnl_attr_for_each(attr, message, sizeof(*header)) {
		if (mnl_attr_get_type(attr) == NFTA_TABLE_NAME)
			return mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0 &&
			       strcmp(mnl_attr_get_str(attr), NB_TABLE_NAME) == 0;
	}
	return false;
}

static void end_commit(struct nb_events *events, const struct nlmsghdr *message,
		       struct nb_event_report *ret)
{
	char program[sizeof(ret->program)] = "";
	uint32_t generation = 0;
	struct nlattr *attr;
	bool own;

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg)) {
		switch (mnl_attr_get_type(attr)) {
		case NFTA_GEN_ID:
			generation = ntohl(mnl_attr_get_u32(attr));
			break;
		case NFTA_GEN_PROC_NAME:
			if (mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
				strncpy(program, mnl_attr_get_str(attr), sizeof(program) - 1);
			break;
		}
	}
	own = strcmp(program, OWN_NAME) == 0;
	if (events->relevant) {
		ret->what |= NB_EVENT_RULESET;
		ret->generation = generation;
		ret->own = own;
		memcpy(ret->program, program, sizeof(program));
	}
	if (events->removed && !own) {
		ret->what |= NB_EVENT_REMOVED;
		ret->removed = generation;
		ret->before = events->touched;
	}
	if (events->ours && own)
		events->touched = generation;
	if (events->ours && !own)
		ret->what |= NB_EVENT_DAMAGED;
	events->relevant = events->ours = events->removed = false;
}

static void read_ruleset_message(struct nb_events *events, const struct nlmsghdr *message,
				 struct nb_event_report *ret)
{
	bool ours;

	if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_NFTABLES ||
	    message->nlmsg_len < mnl_nlmsg_size(sizeof(struct nfgenmsg)))
		return;
	ours = is_of_our_table(message);
	switch (NFNL_MSG_TYPE(message->nlmsg_type)) {
	case NFT_MSG_NEWGEN:
		end_commit(events, message, ret);
		return;
	case NFT_MSG_NEWSET:
	case NFT_MSG_DELSET:
	case NFT_MSG_NEWSETELEM:
	case NFT_MSG_DELSETELEM:
	case NFT_MSG_NEWOBJ:
	case NFT_MSG_DELOBJ:
		/* blocklists change all day: no opener and no table of ours depends on them */
		events->relevant |= ours;
		break;
	case NFT_MSG_DELTABLE:
		events->removed |= ours;
		events->relevant = true;
		break;
	default:
		events->relevant = true;
	}
	events->ours |= ours;
}

/* A device that comes and goes with a probe is no mapping's. */
static bool is_of_a_probe(const struct nlmsghdr *message)
{
	struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK)
		return false;
	mnl_attr_for_each(attr, message, sizeof(struct ifinfomsg)) {
		if (mnl_attr_get_type(attr) == IFLA_IFNAME)
			return mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0 &&
			       strncmp(mnl_attr_get_str(attr), NB_PROBE_PREFIX,
				       strlen(NB_PROBE_PREFIX)) == 0;
	}
	return false;
}

static void read_device_message(struct nb_events *events, const struct nlmsghdr *message,
				struct nb_event_report *ret)
{
	struct nb_link link;

	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
		nb_link_parse(message, &link);
		events->strange |= !nb_device_changes_put(&events->heard, &link);
		break;
	case RTM_NEWCHAIN:
	case RTM_DELCHAIN:
		return; /* comes and goes with its filters */
	case RTM_NEWQDISC:
	case RTM_DELQDISC:
	case RTM_NEWTFILTER:
	case RTM_DELTFILTER:
		events->strange |= message->nlmsg_pid == 0 ||
				   (events->heard.port && events->heard.port != message->nlmsg_pid);
		events->heard.port = message->nlmsg_pid;
		ret->what |= NB_EVENT_FILTERS;
		return;
	default:
		events->strange = true;
	}
	ret->what |= NB_EVENT_DEVICES;
}

static void read_socket(struct nb_events *events, struct mnl_socket *socket,
			struct nb_event_report *ret)
{
	for (;;) {
		ssize_t length = mnl_socket_recvfrom(socket, events->buffer,
						     sizeof(events->buffer));
		const struct nlmsghdr *message = (const struct nlmsghdr *)events->buffer;
		int left = (int)length;

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0 && (errno == ENOBUFS || errno == ENOSPC)) {
			ret->what |= NB_EVENT_LOST;
			events->relevant = events->ours = events->removed = false;
			continue;
		}
		if (length <= 0)
			return;
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
			if (socket != events->devices)
				read_ruleset_message(events, message, ret);
			else if (!is_of_a_probe(message))
				read_device_message(events, message, ret);
		}
	}
}

void nb_events_read(struct nb_events *events, struct nb_event_report *ret)
{
	memset(ret, 0, sizeof(*ret));
	read_socket(events, events->ruleset, ret);
	read_socket(events, events->devices, ret);
	ret->touched = events->touched;
}

void nb_events_listen_devices(struct nb_events *events)
{
	memset(&events->heard, 0, sizeof(events->heard));
	events->strange = false;
}

bool nb_events_devices_are(const struct nb_events *events, const struct nb_device_changes *changes)
{
	return !events->strange && nb_device_changes_cover(changes, &events->heard);
}
