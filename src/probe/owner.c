/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A veth says by a number in which network namespace its other end is; the kernel says which
 * number that of a process has. No engine has to be asked.
 */
#include "nat-bridge/owner.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define MOST_PORTS	1024
#define MOST_NAMESPACES 4096

struct port {
	int index;
	int32_t namespace;
};

struct ports {
	int bridge;
	struct port items[MOST_PORTS];
	size_t count;
};

static int read_port(const struct nlmsghdr *message, void *data)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	struct ports *ports = data;
	int32_t namespace = -1;
	struct nlattr *attr;
	int master = 0;

	if (message->nlmsg_type != RTM_NEWLINK || ports->count == MOST_PORTS)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*info)) {
		if (mnl_attr_get_payload_len(attr) != sizeof(uint32_t))
			continue;
		if (mnl_attr_get_type(attr) == IFLA_MASTER)
			master = (int)mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == IFLA_LINK_NETNSID)
		namespace = (int32_t)mnl_attr_get_u32(attr);
	}
	if (master == ports->bridge && namespace >= 0)
		ports->items[ports->count++] = (struct port){ info->ifi_index, namespace };
	return 0;
}

static int read_ports(struct nb_netlink *nl, struct ports *ports, struct nb_error *err)
{
	char buffer[256] = { 0 };
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct nb_netlink_ack ack;
	struct ifinfomsg *info;
	int r;

	request->nlmsg_type = RTM_GETLINK;
	request->nlmsg_flags = NLM_F_DUMP;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->ifi_family = AF_UNSPEC;
	r = nb_netlink_ask(nl, NETLINK_ROUTE, request, read_port, ports, &ack);
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

static void search(struct nb_netlink *nl, const struct ports *ports, DIR *proc, struct seen *seen,
		   struct nb_owner *ret)
{
	const struct dirent *entry;

	while ((entry = readdir(proc))) {
		pid_t pid = isdigit((unsigned char)entry->d_name[0])
				    ? (pid_t)strtol(entry->d_name, NULL, 10)
				    : 0;
		int port;

		if (!pid || !is_new(seen, pid))
			continue;
		port = port_of(nl, ports, pid);
		if (!port || (ret->pid && ret->pid < pid))
			continue;
		*ret = (struct nb_owner){ .port = port, .pid = pid };
	}
}

int nb_owner_find(struct nb_netlink *nl, int bridge, pid_t pid, struct nb_owner *ret,
		  struct nb_error *err)
{
	struct ports *ports = calloc(1, sizeof(*ports));
	struct seen seen = { .items = calloc(MOST_NAMESPACES, sizeof(*seen.items)) };
	DIR *proc = NULL;
	int r = -ENOMEM;

	*ret = (struct nb_owner){ .pid = pid };
	if (!ports || !seen.items) {
		nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
		goto out;
	}
	ports->bridge = bridge;
	r = read_ports(nl, ports, err);
	if (r < 0 || ports->count == 0)
		goto out;
	if (pid) {
		ret->port = port_of(nl, ports, pid);
		goto out;
	}
	proc = opendir("/proc");
	if (proc)
		search(nl, ports, proc, &seen, ret);
out:
	if (proc)
		closedir(proc);
	free(seen.items);
	free(ports);
	return r;
}
