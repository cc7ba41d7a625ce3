/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connection tracking by nfnetlink, attributes by hand: a few requests do not
 * deserve one more library.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "conntrack.h"

/* CTA_TIMESTAMP_EVENT, which headers before 6.14 do not know. */
#define TIMESTAMP_EVENT 27

static struct nlmsghdr *put_header(char *buffer, uint16_t type)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *generic;

	request->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	generic = mnl_nlmsg_put_extra_header(request, sizeof(*generic));
	generic->nfgen_family = AF_INET;
	generic->version = NFNETLINK_V0;
	return request;
}

static uint32_t read_be32(const struct nlattr *attr)
{
	return mnl_attr_validate(attr, MNL_TYPE_U32) < 0 ? 0 : ntohl(mnl_attr_get_u32(attr));
}

static uint16_t read_be16(const struct nlattr *attr)
{
	return mnl_attr_validate(attr, MNL_TYPE_U16) < 0 ? 0 : ntohs(mnl_attr_get_u16(attr));
}

static void read_addresses(const struct nlattr *nest, struct nb_tuple *tuple)
{
	struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest) {
		switch (mnl_attr_get_type(attr)) {
		case CTA_IP_V4_SRC:
			tuple->source = read_be32(attr);
			break;
		case CTA_IP_V4_DST:
			tuple->destination = read_be32(attr);
			break;
		}
	}
}

static uint8_t read_ports(const struct nlattr *nest, struct nb_tuple *tuple)
{
	struct nlattr *attr;
	uint8_t protocol = 0;

	mnl_attr_for_each_nested(attr, nest) {
		switch (mnl_attr_get_type(attr)) {
		case CTA_PROTO_NUM:
			if (mnl_attr_validate(attr, MNL_TYPE_U8) >= 0)
				protocol = mnl_attr_get_u8(attr);
			break;
		case CTA_PROTO_SRC_PORT:
			tuple->source_port = read_be16(attr);
			break;
		case CTA_PROTO_DST_PORT:
			tuple->destination_port = read_be16(attr);
			break;
		}
	}
	return protocol;
}

static void read_original(const struct nlattr *nest, struct nb_conntrack *entry)
{
	struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest) {
		switch (mnl_attr_get_type(attr)) {
		case CTA_TUPLE_IP:
			read_addresses(attr, &entry->original);
			break;
		case CTA_TUPLE_PROTO:
			entry->protocol = read_ports(attr, &entry->original);
			break;
		case CTA_TUPLE_ZONE:
			entry->zone = read_be16(attr);
			entry->zone_scope = NB_ZONE_ORIGINAL;
			break;
		}
	}
}

static void read_reply(const struct nlattr *nest, struct nb_conntrack *entry)
{
	struct nlattr *attr;

	/* a zone of the reply direction alone takes no part in finding the original one */
	mnl_attr_for_each_nested(attr, nest) {
		switch (mnl_attr_get_type(attr)) {
		case CTA_TUPLE_IP:
			read_addresses(attr, &entry->reply);
			break;
		case CTA_TUPLE_PROTO:
			read_ports(attr, &entry->reply);
			break;
		}
	}
}

static uint8_t read_tcp_state(const struct nlattr *protoinfo)
{
	struct nlattr *tcp, *attr;

	mnl_attr_for_each_nested(tcp, protoinfo) {
		if (mnl_attr_get_type(tcp) != CTA_PROTOINFO_TCP)
			continue;
		mnl_attr_for_each_nested(attr, tcp) {
			if (mnl_attr_get_type(attr) == CTA_PROTOINFO_TCP_STATE &&
			    mnl_attr_validate(attr, MNL_TYPE_U8) >= 0)
				return mnl_attr_get_u8(attr);
		}
	}
	return 0;
}

static uint64_t read_be64(const struct nlattr *attr)
{
	return mnl_attr_validate(attr, MNL_TYPE_U64) < 0 ? 0 : be64toh(mnl_attr_get_u64(attr));
}

static void read_counters(const struct nlattr *nest, struct nb_conntrack_detail *detail,
			  unsigned int direction)
{
	struct nlattr *attr;

	detail->counted = true;
	mnl_attr_for_each_nested(attr, nest) {
		switch (mnl_attr_get_type(attr)) {
		case CTA_COUNTERS_PACKETS:
			detail->packets[direction] = read_be64(attr);
			break;
		case CTA_COUNTERS_BYTES:
			detail->bytes[direction] = read_be64(attr);
			break;
		}
	}
}

static void read_detail(const struct nlmsghdr *message, struct nb_conntrack_detail *detail)
{
	struct nlattr *attr, *time;

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg)) {
		switch (mnl_attr_get_type(attr)) {
		case CTA_COUNTERS_ORIG:
			read_counters(attr, detail, 0);
			break;
		case CTA_COUNTERS_REPLY:
			read_counters(attr, detail, 1);
			break;
		case CTA_TIMESTAMP:
			mnl_attr_for_each_nested(time, attr) {
				if (mnl_attr_get_type(time) == CTA_TIMESTAMP_START)
					detail->began = (int64_t)read_be64(time);
			}
			break;
		case TIMESTAMP_EVENT:
			detail->at = (int64_t)read_be64(attr);
			break;
		case CTA_TIMEOUT:
			detail->left = read_be32(attr);
			break;
		}
	}
}

static void read_entry(const struct nlmsghdr *message, struct nb_conntrack *entry)
{
	struct nlattr *attr;

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg)) {
		switch (mnl_attr_get_type(attr)) {
		case CTA_TUPLE_ORIG:
			read_original(attr, entry);
			break;
		case CTA_TUPLE_REPLY:
			read_reply(attr, entry);
			break;
		case CTA_STATUS:
			entry->status = read_be32(attr);
			break;
		case CTA_ID:
			entry->has_id = mnl_attr_validate(attr, MNL_TYPE_U32) >= 0;
			if (entry->has_id)
				entry->id = mnl_attr_get_u32(attr);
			break;
		case CTA_ZONE:
			entry->zone = read_be16(attr);
			entry->zone_scope = NB_ZONE_BOTH;
			break;
		case CTA_PROTOINFO:
			entry->tcp_state = read_tcp_state(attr);
			break;
		}
	}
}

struct dump {
	uint32_t status;
	uint32_t mask;
	bool (*wanted)(const struct nb_conntrack *entry, const void *data);
	const void *data;
	struct nb_conntrack_list list;
};

static int append(struct nb_conntrack_list *list, const struct nb_conntrack *entry)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 64;
		struct nb_conntrack *items = realloc(list->items, capacity * sizeof(*items));

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->count++] = *entry;
	return 0;
}

bool nb_conntrack_parse(const struct nlmsghdr *message, struct nb_conntrack *ret,
			struct nb_conntrack_detail *ret_detail)
{
	memset(ret, 0, sizeof(*ret));
	if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_CTNETLINK ||
	    (NFNL_MSG_TYPE(message->nlmsg_type) != IPCTNL_MSG_CT_NEW &&
	     NFNL_MSG_TYPE(message->nlmsg_type) != IPCTNL_MSG_CT_DELETE) ||
	    message->nlmsg_len < mnl_nlmsg_size(sizeof(struct nfgenmsg)))
		return false;
	read_entry(message, ret);
	if (ret_detail) {
		memset(ret_detail, 0, sizeof(*ret_detail));
		read_detail(message, ret_detail);
	}
	return ret->protocol == IPPROTO_TCP || ret->protocol == IPPROTO_UDP;
}

static int collect(const struct nlmsghdr *message, void *data)
{
	struct nb_conntrack entry;
	struct dump *dump = data;

	if (!nb_conntrack_parse(message, &entry, NULL))
		return 0;
	/* Linux before 5.15 knows no CTA_STATUS_MASK and sends everything */
	if ((entry.status & dump->mask) != dump->status)
		return 0;
	if (!dump->wanted(&entry, dump->data))
		return 0;
	return append(&dump->list, &entry);
}

static void forget(void *data)
{
	struct dump *dump = data;

	dump->list.count = 0;
}

static int ask(struct nb_netlink *nl, struct dump *dump, bool filtered, struct nb_netlink_ack *ack)
{
	char buffer[256];
	struct nlmsghdr *request = put_header(buffer, IPCTNL_MSG_CT_GET);

	if (filtered) {
		mnl_attr_put_u32(request, CTA_STATUS, htonl(dump->status));
		mnl_attr_put_u32(request, CTA_STATUS_MASK, htonl(dump->mask));
	}
	return nb_netlink_dump(nl, NETLINK_NETFILTER, request, collect, forget, dump, ack);
}

int nb_conntrack_dump(struct nb_netlink *nl, uint32_t status, uint32_t mask,
		      bool (*wanted)(const struct nb_conntrack *entry, const void *data),
		      const void *data, struct nb_conntrack_list *ret, struct nb_error *err)
{
	struct dump dump = { .status = status, .mask = mask, .wanted = wanted, .data = data };
	struct nb_netlink_ack ack;
	int r;

	r = ask(nl, &dump, true, &ack);
	if (r == -EINVAL || r == -EOPNOTSUPP)
		r = ask(nl, &dump, false, &ack);
	if (r < 0) {
		nb_conntrack_list_clear(&dump.list);
		/* nfnetlink's answer for a subsystem that nobody registered */
		if (r == -EINVAL)
			return nb_error_set(err, NB_STATUS_FAILED, EINVAL, "unsupported",
					    "read the tracked connections: the kernel has no "
					    "ctnetlink: modprobe nf_conntrack_netlink");
		if (r == -EINTR)
			return nb_error_set(err, NB_STATUS_FAILED, EINTR, "busy",
					    "read the tracked connections: their table kept "
					    "changing its size: try again");
		return nb_netlink_error(err, &ack, r, "read the tracked connections");
	}
	*ret = dump.list;
	return 0;
}

void nb_conntrack_list_clear(struct nb_conntrack_list *list)
{
	free(list->items);
	memset(list, 0, sizeof(*list));
}

static void put_original(struct nlmsghdr *request, const struct nb_conntrack *entry)
{
	struct nlattr *tuple = mnl_attr_nest_start(request, CTA_TUPLE_ORIG);
	struct nlattr *nest;

	nest = mnl_attr_nest_start(request, CTA_TUPLE_IP);
	mnl_attr_put_u32(request, CTA_IP_V4_SRC, htonl(entry->original.source));
	mnl_attr_put_u32(request, CTA_IP_V4_DST, htonl(entry->original.destination));
	mnl_attr_nest_end(request, nest);

	nest = mnl_attr_nest_start(request, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(request, CTA_PROTO_NUM, entry->protocol);
	mnl_attr_put_u16(request, CTA_PROTO_SRC_PORT, htons(entry->original.source_port));
	mnl_attr_put_u16(request, CTA_PROTO_DST_PORT, htons(entry->original.destination_port));
	mnl_attr_nest_end(request, nest);

	if (entry->zone_scope == NB_ZONE_ORIGINAL)
		mnl_attr_put_u16(request, CTA_TUPLE_ZONE, htons(entry->zone));
	mnl_attr_nest_end(request, tuple);
}

static void put_identity(struct nlmsghdr *request, const struct nb_conntrack *entry)
{
	put_original(request, entry);
	if (entry->has_id)
		mnl_attr_put_u32(request, CTA_ID, entry->id);
	if (entry->zone_scope == NB_ZONE_BOTH)
		mnl_attr_put_u16(request, CTA_ZONE, htons(entry->zone));
}

int nb_conntrack_delete(struct nb_netlink *nl, const struct nb_conntrack *entry,
			struct nb_netlink_ack *ack)
{
	char buffer[256];
	struct nlmsghdr *request = put_header(buffer, IPCTNL_MSG_CT_DELETE);

	put_identity(request, entry);
	return nb_netlink_ask(nl, NETLINK_NETFILTER, request, NULL, NULL, ack);
}

struct one {
	struct nb_conntrack entry;
	struct nb_conntrack_detail detail;
	bool found;
};

static int take_one(const struct nlmsghdr *message, void *data)
{
	struct one *one = data;

	one->found |= nb_conntrack_parse(message, &one->entry, &one->detail);
	return 0;
}

int nb_conntrack_get(struct nb_netlink *nl, struct nb_conntrack *entry,
		     struct nb_conntrack_detail *ret_detail, struct nb_netlink_ack *ack)
{
	struct one one = { .found = false };
	char buffer[256];
	struct nlmsghdr *request = put_header(buffer, IPCTNL_MSG_CT_GET);
	int r;

	put_identity(request, entry);
	r = nb_netlink_ask(nl, NETLINK_NETFILTER, request, take_one, &one, ack);
	if (r < 0)
		return r;
	/* the kernel looks for the tuple alone, which another entry may have by now */
	if (!one.found || (entry->has_id && one.entry.has_id && one.entry.id != entry->id))
		return -ENOENT;
	*entry = one.entry;
	*ret_detail = one.detail;
	return 0;
}
