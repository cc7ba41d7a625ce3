/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter at a device's ingress by rtnetlink: qdisc clsact and classifier
 * bpf, as tc(8) would make them.
 *
 * The filter's name says by which version and for which mark it was made: names are what a dump can
 * compare, it does not show the program.
 *
 * Whose the qdisc is says an empty chain in it, to which no packet comes, and the filter's name, too. Both
 * live and die with the qdisc, and the chain outlives the filter: `tc filter del` without a chain
 * takes what is in chain 0. So a qdisc that somebody has made, before or in place of
 * ours, is never taken for ours, and ours never stays for want of somebody who remembers.
 */
#include <errno.h>
#include <linux/gen_stats.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "nat-bridge/ingress.h"

/* "nat-bridge/1:0x10000000", and ":qdisc" behind it. The number is the program's version. */
#define NAME_PREFIX "nat-bridge/"
#define NAME_FORMAT NAME_PREFIX "1:0x%08x"
#define NAME_QDISC  ":qdisc"
#define NAME_SIZE   48

#define INGRESS TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define EGRESS	TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)
/* "nb" again: where it is the qdisc is ours */
#define CHAIN	     NB_INGRESS_HANDLE
#define LOOPBACK     1 /* its index in every network namespace */
#define REQUEST_SIZE 512

static struct nlmsghdr *put_request(char *buffer, uint16_t type, uint16_t flags, int ifindex,
				    uint32_t parent)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct tcmsg *tc;

	request->nlmsg_type = type;
	request->nlmsg_flags = flags;
	tc = mnl_nlmsg_put_extra_header(request, sizeof(*tc));
	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = ifindex;
	tc->tcm_parent = parent;
	return request;
}

/* The filters of one hook of one device. */
struct reader {
	struct nb_ingress *ours;
	char name[NAME_SIZE]; /* that a current filter has */
	uint32_t first;	      /* priority of somebody else's first filter, 0: there is none */
};

static void read_name(struct reader *reader, const struct tcmsg *tc, const char *name)
{
	size_t length = strlen(reader->name);

	reader->ours->priority = TC_H_MAJ(tc->tcm_info) >> 16;
	reader->ours->handle = tc->tcm_handle;
	reader->ours->own_qdisc = strstr(name, NAME_QDISC) != NULL;
	reader->ours->current = strncmp(name, reader->name, length) == 0 &&
				(name[length] == '\0' || name[length] == ':');
}

static int read_filter(const struct nlmsghdr *message, void *data)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(message);
	const struct nlattr *options = NULL;
	struct reader *reader = data;
	uint32_t priority = TC_H_MAJ(tc->tcm_info) >> 16;
	const char *name = "";
	struct nlattr *attr;

	/* of each priority there is also one message without a filter */
	if (message->nlmsg_type != RTM_NEWTFILTER || tc->tcm_handle == 0)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*tc)) {
		if (mnl_attr_get_type(attr) == TCA_KIND &&
		    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0 &&
		    strcmp(mnl_attr_get_str(attr), "bpf") != 0)
			goto foreign;
		if (mnl_attr_get_type(attr) == TCA_OPTIONS)
			options = attr;
	}
	if (options)
		mnl_attr_for_each_nested(attr, options) {
			if (mnl_attr_get_type(attr) == TCA_BPF_NAME &&
			    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
				name = mnl_attr_get_str(attr);
		}
	if (strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX)) == 0) {
		read_name(reader, tc, name);
		return 0;
	}
foreign:
	if (reader->first == 0 || priority < reader->first)
		reader->first = priority;
	return 0;
}

static void forget_filters(void *data)
{
	struct reader *reader = data;

	memset(reader->ours, 0, sizeof(*reader->ours));
	reader->first = 0;
}

static int read_hook(struct nb_netlink *nl, int ifindex, uint32_t parent, struct reader *reader,
		     struct nb_netlink_ack *ack)
{
	char buffer[REQUEST_SIZE] = { 0 };

	return nb_netlink_dump(nl, NETLINK_ROUTE,
			       put_request(buffer, RTM_GETTFILTER, NLM_F_DUMP, ifindex, parent),
			       read_filter, forget_filters, reader, ack);
}

static struct nlmsghdr *put_chain(char *buffer, uint16_t type, uint16_t flags, int ifindex)
{
	struct nlmsghdr *request = put_request(buffer, type, flags, ifindex, INGRESS);

	mnl_attr_put_u32(request, TCA_CHAIN, CHAIN);
	return request;
}

/* What nothing can be said of: a device that went away, and a kernel that knows no filters at all. */
static bool is_absent(int number)
{
	return number == -ENODEV || number == -EINVAL || number == -EOPNOTSUPP;
}

int nb_ingress_read(struct nb_netlink *nl, struct nb_link *link, uint32_t mark,
		    struct nb_error *err)
{
	struct reader reader = { .ours = &link->ingress };
	char buffer[REQUEST_SIZE] = { 0 }, what[96];
	struct nb_netlink_ack ack;
	int r;

	snprintf(reader.name, sizeof(reader.name), NAME_FORMAT, mark);
	r = read_hook(nl, link->index, INGRESS, &reader, &ack);
	link->ingress.preceded = link->ingress.priority && reader.first &&
				 reader.first <= link->ingress.priority;
	if (r == 0 && !link->ingress.own_qdisc) {
		r = nb_netlink_ask(nl, NETLINK_ROUTE,
				   put_chain(buffer, RTM_GETCHAIN, 0, link->index), NULL, NULL,
				   &ack);
		link->ingress.own_qdisc = r == 0;
	}
	if (is_absent(r))
		r = 0;
	if (r == 0)
		return 0;
	snprintf(what, sizeof(what), "read the ingress filters of %s", link->name);
	return nb_netlink_error(err, &ack, r, what);
}

/* How many packets its filters have dropped. */
static uint32_t read_dropped(const struct nlmsghdr *message)
{
	struct nlattr *attr, *stats;
	struct gnet_stats_queue queue = { 0 };

	mnl_attr_for_each(attr, message, sizeof(struct tcmsg)) {
		if (mnl_attr_get_type(attr) != TCA_STATS2)
			continue;
		mnl_attr_for_each_nested(stats, attr) {
			if (mnl_attr_get_type(stats) == TCA_STATS_QUEUE &&
			    mnl_attr_get_payload_len(stats) >= sizeof(queue))
				memcpy(&queue, mnl_attr_get_payload(stats), sizeof(queue));
		}
	}
	return queue.drops;
}

static int read_qdisc(const struct nlmsghdr *message, void *data)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(message);
	const struct nb_link_list *list = data;

	if (message->nlmsg_type != RTM_NEWQDISC || tc->tcm_parent != TC_H_CLSACT)
		return 0;
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].index == tc->tcm_ifindex) {
			list->items[i].clsact = true;
			list->items[i].dropped = read_dropped(message);
		}
	return 0;
}

int nb_ingress_read_all(struct nb_netlink *nl, struct nb_link_list *list, uint32_t mark,
			struct nb_error *err)
{
	char buffer[REQUEST_SIZE] = { 0 };
	struct nb_netlink_ack ack;
	int r = nb_netlink_dump(nl, NETLINK_ROUTE,
				put_request(buffer, RTM_GETQDISC, NLM_F_DUMP, 0, 0), read_qdisc,
				NULL, list, &ack);

	if (r == -EOPNOTSUPP)
		return 0; /* a kernel without traffic control */
	if (r < 0)
		return nb_netlink_error(err, &ack, r, "read the queueing disciplines");
	for (size_t i = 0; r == 0 && i < list->count; i++)
		if (list->items[i].clsact)
			r = nb_ingress_read(nl, &list->items[i], mark, err);
	return r;
}

static struct nlmsghdr *put_qdisc(char *buffer, uint16_t type, uint16_t flags, int ifindex)
{
	struct nlmsghdr *request = put_request(buffer, type, flags, ifindex, TC_H_CLSACT);
	struct tcmsg *tc = mnl_nlmsg_get_payload(request);

	tc->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	mnl_attr_put_strz(request, TCA_KIND, "clsact");
	return request;
}

static int ask(struct nb_netlink *nl, struct nlmsghdr *request, struct nb_netlink_ack *ack)
{
	return nb_netlink_ask(nl, NETLINK_ROUTE, request, NULL, NULL, ack);
}

/*
 * Has the device that qdisc? Nothing is made: the kernel looks for the kind of qdisc, and whether
 * there is one already, before it looks at the block, of which number 0 is refused. Returns 1, 0, or
 * a negative errno: -ENOENT, the kind is not known.
 */
static int has_qdisc(struct nb_netlink *nl, int ifindex, struct nb_netlink_ack *ack)
{
	char buffer[REQUEST_SIZE] = { 0 };
	struct nlmsghdr *request = put_qdisc(buffer, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL,
					     ifindex);
	int r;

	mnl_attr_put_u32(request, TCA_INGRESS_BLOCK, 0);
	r = ask(nl, request, ack);
	return r == -EEXIST ? 1 : r == -EINVAL ? 0 : r;
}

int nb_ingress_probe(struct nb_netlink *nl, uint32_t mark, char *why, size_t why_size)
{
	int program = nb_ingress_load(mark), r;
	struct nb_netlink_ack ack;

	if (program < 0) {
		snprintf(why, why_size, "bpf(2): %s", strerror(-program));
		return program;
	}
	r = has_qdisc(nl, LOOPBACK, &ack);
	if (r >= 0)
		return program;
	close(program);
	snprintf(why, why_size, "qdisc clsact: %s", ack.message[0] ? ack.message : strerror(-r));
	return r;
}

bool nb_ingress_is_impossible(int number)
{
	return number == -ENOENT || number == -EOPNOTSUPP || number == -EPERM ||
	       number == -EACCES || number == -EINVAL;
}

static struct nlmsghdr *put_filter(char *buffer, uint16_t type, uint16_t flags, int ifindex,
				   uint32_t priority, uint32_t handle)
{
	struct nlmsghdr *request = put_request(buffer, type, flags, ifindex, INGRESS);
	struct tcmsg *tc = mnl_nlmsg_get_payload(request);

	/* all protocols: a frame with a VLAN tag is none of "ip" here, whatever is in it */
	tc->tcm_info = TC_H_MAKE(priority << 16, htons(ETH_P_ALL));
	tc->tcm_handle = handle;
	mnl_attr_put_strz(request, TCA_KIND, "bpf");
	return request;
}

/*
 * With @with_qdisc the qdisc, too, and the chain that says that it is ours: in one step, so that
 * there is none without; *@ret_made is then whether it was made, 0 or a negative errno. (A chain that
 * is there already is no failure.)
 */
static int create_filter(struct nb_netlink *nl, int ifindex, const struct nb_ingress *filter,
			 bool with_qdisc, int program, uint32_t mark, int *ret_made,
			 struct nb_netlink_ack *ack)
{
	char buffer[3 * REQUEST_SIZE] = { 0 }, *end = buffer, name[NAME_SIZE];
	struct nlmsghdr *request;
	struct nlattr *options;
	size_t count = 1;

	if (with_qdisc) {
		request = put_qdisc(end, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, ifindex);
		end = mnl_nlmsg_get_payload_tail(request);
		count++;
	}
	if (filter->own_qdisc) {
		request = put_chain(end, RTM_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, ifindex);
		end = mnl_nlmsg_get_payload_tail(request);
		count++;
	}
	request = put_filter(end, RTM_NEWTFILTER, NLM_F_CREATE, ifindex, filter->priority,
			     filter->handle);
	snprintf(name, sizeof(name), NAME_FORMAT "%s", mark, filter->own_qdisc ? NAME_QDISC : "");
	options = mnl_attr_nest_start(request, TCA_OPTIONS);
	mnl_attr_put_u32(request, TCA_BPF_FD, (uint32_t)program);
	mnl_attr_put_strz(request, TCA_BPF_NAME, name);
	mnl_attr_put_u32(request, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_put_u32(request, TCA_BPF_FLAGS_GEN, TCA_CLS_FLAGS_SKIP_HW);
	mnl_attr_nest_end(request, options);
	return nb_netlink_ask_last(nl, NETLINK_ROUTE, (struct nlmsghdr *)buffer, count,
				   with_qdisc ? ret_made : NULL, ack);
}

/* Has anybody else a filter there, coming in or going out? 1, 0, or a negative errno. */
static int has_others(struct nb_netlink *nl, int ifindex, struct nb_netlink_ack *ack)
{
	static const uint32_t hooks[] = { INGRESS, EGRESS };
	struct nb_ingress ours;
	struct reader reader = { .ours = &ours };

	for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++) {
		int r = read_hook(nl, ifindex, hooks[i], &reader, ack);

		if (r < 0 || reader.first)
			return r < 0 ? r : 1;
	}
	return 0;
}

static int delete_qdisc(struct nb_netlink *nl, int ifindex, struct nb_netlink_ack *ack)
{
	char buffer[REQUEST_SIZE] = { 0 };

	return ask(nl, put_qdisc(buffer, RTM_DELQDISC, 0, ifindex), ack);
}

/* Others use the qdisc, or it is theirs: our filter goes, and what calls the qdisc ours. */
static int delete_filter(struct nb_netlink *nl, int ifindex, const struct nb_ingress *old,
			 struct nb_netlink_ack *ack)
{
	char buffer[2 * REQUEST_SIZE] = { 0 };
	struct nlmsghdr *first = NULL;

	if (old->own_qdisc)
		first = put_chain(buffer, RTM_DELCHAIN, 0, ifindex);
	if (first && !old->priority)
		return ask(nl, first, ack);
	put_filter(first ? mnl_nlmsg_get_payload_tail(first) : buffer, RTM_DELTFILTER, 0, ifindex,
		   old->priority, old->handle);
	return nb_netlink_ask_last(nl, NETLINK_ROUTE, (struct nlmsghdr *)buffer, first ? 2 : 1,
				   NULL, ack);
}

/* A priority belongs to one kind of filter and one protocol: then the next one is tried. */
#define PRIORITIES 8

int nb_ingress_attach(struct nb_netlink *nl, int ifindex, const struct nb_ingress *old, int program,
		      uint32_t mark, struct nb_netlink_ack *ack)
{
	struct nb_ingress filter = *old;
	struct nb_netlink_ack ignored;
	int there, made, r;

	if (old->priority) /* in place of it, in one step */
		return create_filter(nl, ifindex, &filter, false, program, mark, NULL, ack);

	there = has_qdisc(nl, ifindex, ack);
	if (there < 0)
		return there;
	filter.own_qdisc = !there || old->own_qdisc;
	filter.handle = NB_INGRESS_HANDLE;
	filter.priority = NB_INGRESS_PRIORITY;
	if (!there) {
		r = create_filter(nl, ifindex, &filter, true, program, mark, &made, ack);
		if (r < 0 && made == 0)
			delete_qdisc(nl, ifindex, &ignored);
		if (made != -EEXIST)
			return r;
		/* somebody has made one meanwhile: nothing in it may say that it is ours */
		delete_filter(nl, ifindex, &filter, &ignored);
		filter.own_qdisc = false;
	}
	do {
		r = create_filter(nl, ifindex, &filter, false, program, mark, NULL, ack);
	} while (r == -EINVAL && ++filter.priority < NB_INGRESS_PRIORITY + PRIORITIES);
	return r;
}

int nb_ingress_detach(struct nb_netlink *nl, int ifindex, const struct nb_ingress *old,
		      struct nb_netlink_ack *ack)
{
	int r = old->own_qdisc ? has_others(nl, ifindex, ack) : 1;

	if (r == 0) /* the filter goes with it, and the chain */
		r = delete_qdisc(nl, ifindex, ack);
	else if (r > 0)
		r = delete_filter(nl, ifindex, old, ack);
	/* somebody took away the filter, its priority, the chain, the qdisc, the device */
	return r == -ENOENT || r == -EINVAL || r == -ENODEV ? 0 : r;
}
