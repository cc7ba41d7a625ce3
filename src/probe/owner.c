/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A veth says by a number in which network namespace its other end is; the kernel says which
 * number that of a process has. No engine has to be asked.
 */
#include "nat-bridge/owner.h"
#include "nat-bridge/link.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define MOST_PORTS	4096
#define MOST_NAMESPACES 4096

struct port {
	int bridge;
	int index;
	int32_t namespace;
};

struct ports {
	int bridge; /* whose alone; 0: any */
	struct port items[MOST_PORTS];
	size_t count;
};

static int read_port(const struct nlmsghdr *message, void *data)
{
	struct ports *ports = data;
	int32_t namespace = -1;
	struct nb_link link;
	struct nlattr *attr;
	int bridge;

	if (message->nlmsg_type != RTM_NEWLINK || ports->count == MOST_PORTS)
		return 0;
	nb_link_parse(message, &link);
	mnl_attr_for_each(attr, message, sizeof(struct ifinfomsg)) {
		if (mnl_attr_get_type(attr) == IFLA_LINK_NETNSID &&
		    mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
		namespace = (int32_t)mnl_attr_get_u32(attr);
	}
	/* a veth that is no port is a network of its own */
	bridge = link.master || strcmp(link.kind, "veth") != 0 ? link.master : link.index;
	if (bridge && (!ports->bridge || bridge == ports->bridge) && namespace >= 0)
		ports->items[ports->count++] = (struct port){ bridge, link.index, namespace };
	return 0;
}

static int read_ports(struct nb_netlink *nl, struct ports *ports, struct nb_error *err)
{
	struct nb_netlink_ack ack;
	int r = nb_link_each(nl, read_port, ports, &ack);

	/* devices come and go; what was seen was there */
	return r < 0 && r != -EINTR ? nb_netlink_error(err, &ack, r, "read devices") : 0;
}

static int read_namespace(const struct nlmsghdr *message, void *data)
{
	struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWNSID)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(struct rtgenmsg)) {
		if (mnl_attr_get_type(attr) == NETNSA_NSID &&
		    mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			*(int32_t *)data = (int32_t)mnl_attr_get_u32(attr);
	}
	return 0;
}

/* -1: it is none of which this one has a number. */
static int32_t namespace_of(struct nb_netlink *nl, pid_t pid)
{
	char buffer[256] = { 0 };
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	int32_t namespace = -1;
	struct rtgenmsg *header;

	request->nlmsg_type = RTM_GETNSID;
	header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->rtgen_family = AF_UNSPEC;
	mnl_attr_put_u32(request, NETNSA_PID, (uint32_t)pid);
	if (nb_netlink_ask(nl, NETLINK_ROUTE, request, read_namespace, &namespace, NULL) < 0)
		return -1;
	return namespace;
}

/* The port behind which a process is; 0: behind none of these. */
static int port_of(struct nb_netlink *nl, const struct ports *ports, pid_t pid)
{
	int32_t namespace = namespace_of(nl, pid);

	for (size_t i = 0; namespace >= 0 && i < ports->count; i++)
		if (ports->items[i].namespace == namespace)
			return ports->items[i].index;
	return 0;
}

/* Network namespaces that were asked about. */
struct seen {
	ino_t *items;
	size_t count;
};

static bool is_new(struct seen *seen, pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	if (stat(path, &st) < 0 || seen->count == MOST_NAMESPACES)
		return false;
	for (size_t i = 0; i < seen->count; i++)
		if (seen->items[i] == st.st_ino)
			return false;
	seen->items[seen->count++] = st.st_ino;
	return true;
}

/* Processes, in the order of their numbers, are shown to @visit: of each namespace the first. */
static int walk_processes(int (*visit)(pid_t pid, void *data), void *data)
{
	struct seen seen = { .items = calloc(MOST_NAMESPACES, sizeof(*seen.items)) };
	const struct dirent *entry;
	DIR *proc;
	int r = 0;

	if (!seen.items)
		return -ENOMEM;
	proc = opendir("/proc");
	/* without /proc nobody is known */
	while (proc && r == 0 && (entry = readdir(proc))) {
		pid_t pid = isdigit((unsigned char)entry->d_name[0])
				    ? (pid_t)strtol(entry->d_name, NULL, 10)
				    : 0;

		if (pid && is_new(&seen, pid))
			r = visit(pid, data);
	}
	if (proc)
		closedir(proc);
	free(seen.items);
	return r;
}

struct search {
	struct nb_netlink *nl;
	struct ports *ports;
	struct nb_owner *first;	    /* the first alone, or */
	struct nb_owner_list *list; /* all */
};

static int visit_first(pid_t pid, void *data)
{
	struct search *search = data;
	int port = port_of(search->nl, search->ports, pid);

	if (port && (!search->first->pid || pid < search->first->pid)) {
		search->first->port = port;
		search->first->pid = pid;
	}
	return 0;
}

static int append(struct nb_owner_list *list, const struct nb_owner *owner)
{
	struct nb_owner *grown;

	/* two ports of one bridge lead there */
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].bridge == owner->bridge && list->items[i].pid == owner->pid)
			return 0;
	grown = realloc(list->items, (list->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	list->items = grown;
	grown[list->count++] = *owner;
	return 0;
}

static int visit_all(pid_t pid, void *data)
{
	struct search *search = data;
	const struct ports *ports = search->ports;
	int32_t namespace = namespace_of(search->nl, pid);
	int r = 0;

	for (size_t i = 0; r == 0 && namespace >= 0 && i < ports->count; i++) {
		const struct nb_owner owner = {
			.bridge = ports->items[i].bridge,
			.port = ports->items[i].index,
			.pid = pid,
		};

		if (ports->items[i].namespace == namespace)
			r = append(search->list, &owner);
	}
	return r;
}

static int compare_owners(const void *a, const void *b)
{
	const struct nb_owner *left = a, *right = b;

	if (left->bridge != right->bridge)
		return left->bridge < right->bridge ? -1 : 1;
	return (left->pid > right->pid) - (left->pid < right->pid);
}

static int out_of_memory(struct nb_error *err)
{
	return nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
}

int nb_owner_find(struct nb_netlink *nl, int bridge, pid_t pid, struct nb_owner *ret,
		  struct nb_error *err)
{
	struct search search = {
		.nl = nl,
		.ports = calloc(1, sizeof(*search.ports)),
		.first = ret,
	};
	int r;

	*ret = (struct nb_owner){ .bridge = bridge, .pid = pid };
	if (!search.ports)
		return out_of_memory(err);
	search.ports->bridge = bridge;
	r = read_ports(nl, search.ports, err);
	if (r == 0 && pid)
		ret->port = port_of(nl, search.ports, pid);
	else if (r == 0 && search.ports->count && walk_processes(visit_first, &search) < 0)
		r = out_of_memory(err);
	free(search.ports);
	return r;
}

int nb_owner_find_all(struct nb_netlink *nl, struct nb_owner_list *ret, struct nb_error *err)
{
	struct search search = {
		.nl = nl,
		.ports = calloc(1, sizeof(*search.ports)),
		.list = ret,
	};
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!search.ports)
		return out_of_memory(err);
	r = read_ports(nl, search.ports, err);
	if (r == 0 && search.ports->count && walk_processes(visit_all, &search) < 0)
		r = out_of_memory(err);
	if (ret->count)
		qsort(ret->items, ret->count, sizeof(*ret->items), compare_owners);
	free(search.ports);
	return r;
}

void nb_owner_list_clear(struct nb_owner_list *list)
{
	free(list->items);
	memset(list, 0, sizeof(*list));
}
