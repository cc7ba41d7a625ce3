/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: what a batch creates is kept as the message that
 * created it, and a dump hands that message back, because the kernel's answers have the same
 * attributes as our requests. Only handles, names of anonymous sets and
 * expirations are filled in.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <libnftnl/common.h>
#include <netinet/in.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>

#include "fake_tc.h"
#include "nat-bridge/flow.h"
#include "nat-bridge/ruleset.h"
#include "unit.h"

struct fake_kernel fake;

void fake_reset(void)
{
	for (size_t i = 0; i < fake.heap_count; i++)
		free(fake.heap[i]);
	free(fake.heap);
	free(fake.objects);
	free(fake.batch);
	memset(&fake, 0, sizeof(fake));
	fake.generation = 100;
	fake.handle = 1;
	fake.fail_element = -1;
}

static __attribute__((format(printf, 1, 2))) void note(const char *format, ...)
{
	size_t used = strlen(fake.log);
	va_list args;

	va_start(args, format);
	vsnprintf(fake.log + used, sizeof(fake.log) - used, format, args);
	va_end(args);
}

const struct nlmsghdr *fake_message(const char *batch, size_t length, unsigned int index)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)batch;
	int left = (int)length;

	for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
		if (index-- == 0)
			return message;
	return NULL;
}

const char *fake_label(const struct nlmsghdr *message, char *buffer, size_t size)
{
	static const char *const words[] = {
		[NFT_MSG_NEWTABLE] = "+table",	[NFT_MSG_DELTABLE] = "-table",
		[NFT_MSG_NEWCHAIN] = "+chain",	[NFT_MSG_NEWRULE] = "+rule",
		[NFT_MSG_DELRULE] = "-rule",	[NFT_MSG_NEWSET] = "+set",
		[NFT_MSG_NEWSETELEM] = "+elem", [NFT_MSG_DELSETELEM] = "-elem",
	};
	uint8_t command = FAKE_COMMAND(message);

	if (message->nlmsg_type == NFNL_MSG_BATCH_BEGIN)
		snprintf(buffer, size, "begin");
	else if (message->nlmsg_type == NFNL_MSG_BATCH_END)
		snprintf(buffer, size, "end");
	else if (command == NFT_MSG_NEWTABLE || command == NFT_MSG_DELTABLE)
		snprintf(buffer, size, "%s %s", words[command], fake_text(message, 1));
	else
		snprintf(buffer, size, "%s %s %s", words[command], fake_text(message, 1),
			 fake_text(message, fake_name_attribute(command)));
	return buffer;
}

/* What a reader wants to know of a batch: the table, elements, others' rules. */
static void note_message(const struct nlmsghdr *message)
{
	uint8_t command = FAKE_COMMAND(message);
	bool ours = strcmp(fake_text(message, 1), NB_TABLE_NAME) == 0;
	const struct nlattr *list;
	struct nlattr *attr;
	size_t count = 0;

	if (command == NFT_MSG_NEWTABLE || command == NFT_MSG_DELTABLE)
		note(" %ctable", command == NFT_MSG_NEWTABLE ? '+' : '-');
	if ((command == NFT_MSG_NEWRULE || command == NFT_MSG_DELRULE) && !ours)
		note(" %copener:%s", command == NFT_MSG_NEWRULE ? '+' : '-', fake_text(message, 1));
	if ((command != NFT_MSG_NEWSETELEM && command != NFT_MSG_DELSETELEM) ||
	    strncmp(fake_text(message, 2), "__", 2) == 0)
		return;
	list = fake_attr(message, NFTA_SET_ELEM_LIST_ELEMENTS);
	mnl_attr_for_each_nested(attr, list)
		count++;
	note(" %c%s", command == NFT_MSG_NEWSETELEM ? '+' : '-', fake_text(message, 2));
	if (count != 1)
		note("*%zu", count);
}

static void note_batch(const char *batch, size_t length)
{
	const struct nlmsghdr *message;

	note("batch");
	for (unsigned int i = 1; (message = fake_message(batch, length, i)) != NULL; i++)
		if (message->nlmsg_type != NFNL_MSG_BATCH_END)
			note_message(message);
	note("; ");
}

/* An exchange begins: 0, or the errno with which it shall fail. */
static int begin(void)
{
	fake.exchanges++;
	if (fake.hook && fake.exchanges == fake.hook_at)
		fake.hook();
	return fake.exchanges == fake.fail_at ? fake.number : 0;
}

static void fill_ack(struct nb_netlink_ack *acks, size_t *count, const struct nlmsghdr *message,
		     int number, uint32_t offset)
{
	if (*count == 0)
		return;
	memset(acks, 0, sizeof(*acks));
	acks->sequence = message->nlmsg_seq;
	acks->number = -number;
	acks->offset = offset;
	*count = 1;
}

static int fail_batch(const char *batch, size_t length, struct nb_netlink_ack *acks, size_t *count)
{
	const struct nlmsghdr *message = fake_message(batch, length, fake.fail_message);
	struct nlattr *attr;
	uint32_t offset = 0;
	int left = fake.fail_element;

	ck_assert_ptr_nonnull(message);
	if (left >= 0) {
		mnl_attr_for_each_nested(attr, fake_attr(message, NFTA_SET_ELEM_LIST_ELEMENTS)) {
			if (left-- > 0)
				continue;
			/* the kernel points at the element or at something inside of it */
			offset = (uint32_t)((const char *)attr - (const char *)message);
			offset += fake.exchanges % 2 ? 0 : MNL_ATTR_HDRLEN;
			break;
		}
	}
	if (fake.fail_element == -2)
		*count = 0;
	else
		fill_ack(acks, count, message, fake.number, offset);
	return fake.number;
}

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker makes these names */
int __wrap_nb_netlink_ask(struct nb_netlink *nl, int bus, struct nlmsghdr *request,
			  int (*callback)(const struct nlmsghdr *message, void *data), void *data,
			  struct nb_netlink_ack *ack);
int __wrap_nb_netlink_ask_last(struct nb_netlink *nl, int bus, struct nlmsghdr *first, size_t count,
			       int *ret_first, struct nb_netlink_ack *ack);
int __wrap_nb_netlink_commit(struct nb_netlink *nl, const void *batch, size_t length, uint32_t last,
			     struct nb_netlink_ack *acks, size_t *ack_count);
int __wrap_nb_flow_end(struct nb_netlink *nl, const struct nb_flow_match *matches, size_t count,
		       const struct nb_flow_match *kept, size_t kept_count,
		       struct nb_flow_result *ret, struct nb_warnings *warnings,
		       struct nb_error *err);
int __wrap_nb_flow_free_untranslated(struct nb_netlink *nl, const struct nb_flow_match *matches,
				     size_t count, struct nb_error *err);
/* NOLINTEND(bugprone-reserved-identifier) */

int __wrap_nb_netlink_commit(struct nb_netlink *nl, const void *batch, size_t length, uint32_t last,
			     struct nb_netlink_ack *acks, size_t *ack_count)
{
	struct nlmsghdr *message;
	struct fake_object *before;
	size_t count = fake.object_count;
	uint32_t offset;
	int r = begin();

	(void)nl;
	free(fake.batch);
	fake.batch = malloc(length);
	ck_assert_ptr_nonnull(fake.batch);
	memcpy(fake.batch, batch, length);
	fake.batch_length = length;
	note_batch(batch, length);
	if (r < 0)
		return fail_batch(batch, length, acks, ack_count);

	message = fake_keep(batch, length, 0);
	if (ntohl(mnl_attr_get_u32(fake_attr(message, NFNL_BATCH_GENID))) != fake.generation) {
		fill_ack(acks, ack_count, message, -ERESTART, 0);
		return -ERESTART;
	}
	before = fake_save();
	for (int left = (int)length; mnl_nlmsg_ok(message, left);
	     message = mnl_nlmsg_next(message, &left)) {
		if (message->nlmsg_type == NFNL_MSG_BATCH_BEGIN)
			continue;
		if (message->nlmsg_type == NFNL_MSG_BATCH_END) {
			ck_assert_uint_eq(message->nlmsg_seq, last);
			fake.generation++;
			*ack_count = 0;
			return fake.lose_answer ? -EINPROGRESS : 0;
		}
		r = fake_change(message, &offset);
		if (r == 0)
			continue;
		fill_ack(acks, ack_count, message, r, offset);
		fake_restore(before, count);
		return r;
	}
	ck_abort_msg("a batch without end");
}

int __wrap_nb_flow_end(struct nb_netlink *nl, const struct nb_flow_match *matches, size_t count,
		       const struct nb_flow_match *kept, size_t kept_count,
		       struct nb_flow_result *ret, struct nb_warnings *warnings,
		       struct nb_error *err)
{
	int r = begin();

	(void)nl;
	(void)warnings;
	note("end");
	for (size_t i = 0; i < count; i++)
		note(" %d:%u", matches[i].ifindex, matches[i].port);
	for (size_t i = 0; i < kept_count; i++)
		note(" not %d:%u", kept[i].ifindex, kept[i].port);
	note("; ");
	ret->flows = ret->sockets = 0;
	return r < 0 ? nb_netlink_error(err, NULL, r, "end the flows") : 0;
}

int __wrap_nb_flow_free_untranslated(struct nb_netlink *nl, const struct nb_flow_match *matches,
				     size_t count, struct nb_error *err)
{
	int r = begin();

	(void)nl;
	note("forget");
	for (size_t i = 0; i < count; i++)
		note(" %d:%u", matches[i].ifindex, matches[i].port);
	note("; ");
	return r < 0 ? nb_netlink_error(err, NULL, r, "forget the flows") : 0;
}

/* Requests */

static int answer_links(callback_fn *callback, void *data)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < fake.link_count; i++) {
		const struct nb_link *link = &fake.links[i];
		uint32_t conf[33] = { 0 };
		char buffer[1024];
		struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
		struct ifinfomsg *info;
		struct nlattr *nest, *inet;

		message->nlmsg_type = RTM_NEWLINK;
		info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
		info->ifi_index = link->index;
		info->ifi_type = link->hardware;
		mnl_attr_put_strz(message, IFLA_IFNAME, link->name);
		nest = mnl_attr_nest_start(message, IFLA_LINKINFO);
		mnl_attr_put_strz(message, IFLA_INFO_KIND, link->kind);
		mnl_attr_nest_end(message, nest);
		conf[IPV4_DEVCONF_ROUTE_LOCALNET - 1] = link->route_localnet;
		conf[IPV4_DEVCONF_TAG - 1] = link->tag;
		nest = mnl_attr_nest_start(message, IFLA_AF_SPEC);
		inet = mnl_attr_nest_start(message, AF_INET);
		mnl_attr_put(message, IFLA_INET_CONF, sizeof(conf), conf);
		mnl_attr_nest_end(message, inet);
		mnl_attr_nest_end(message, nest);
		r = callback(message, data);
	}
	return r;
}

static struct nb_link *link_of(const struct nlmsghdr *request)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(request);

	for (size_t i = 0; i < fake.link_count; i++)
		if (fake.links[i].index == info->ifi_index)
			return &fake.links[i];
	return NULL;
}

/* Fails before anything is set, or sets both values. */
static int set_link(const struct nlmsghdr *request, int fault)
{
	struct nb_link *link = link_of(request);
	struct nlattr *attr = NULL, *value;

	mnl_attr_for_each(attr, request, sizeof(struct ifinfomsg))
		if (mnl_attr_get_type(attr) == IFLA_AF_SPEC)
			break;
	note("setlink %s", link ? link->name : "?");
	attr = fake_nested(attr, AF_INET);
	ck_assert_ptr_nonnull(attr);
	attr = fake_nested(attr, IFLA_INET_CONF);
	ck_assert_ptr_nonnull(attr);
	value = fake_nested(attr, IPV4_DEVCONF_ROUTE_LOCALNET);
	ck_assert_ptr_nonnull(value);
	note(" %u", mnl_attr_get_u32(value));
	if (fault == 0 && link)
		link->route_localnet = mnl_attr_get_u32(value);
	value = fake_nested(attr, IPV4_DEVCONF_TAG);
	if (value)
		note(" %x", mnl_attr_get_u32(value));
	if (fault == 0 && link && value)
		link->tag = mnl_attr_get_u32(value);
	note("; ");
	return fault < 0 ? fault : link ? 0 : -ENODEV;
}

int __wrap_nb_netlink_ask(struct nb_netlink *nl, int bus, struct nlmsghdr *request,
			  callback_fn *callback, void *data, struct nb_netlink_ack *ack)
{
	int r = begin(), number;

	(void)nl;
	if (ack)
		memset(ack, 0, sizeof(*ack));
	if (bus == NETLINK_ROUTE && request->nlmsg_type == RTM_SETLINK)
		return set_link(request, r);
	if (bus == NETLINK_ROUTE && fake_tc_is_request(request)) {
		const struct tcmsg *tc = mnl_nlmsg_get_payload(request);
		const char *label = fake_tc_label(request);

		if (label)
			note("%s %d; ", label, tc->tcm_ifindex);
		return r < 0 ? r : fake_tc_answer(request, callback, data);
	}
	if (r < 0 && !fake.half_dump)
		return r;
	number = bus == NETLINK_ROUTE ? answer_links(callback, data)
				      : fake_answer(request, callback, data);
	return r < 0 ? r : number;
}

int __wrap_nb_netlink_ask_last(struct nb_netlink *nl, int bus, struct nlmsghdr *first, size_t count,
			       int *ret_first, struct nb_netlink_ack *ack)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(first);
	const struct nlmsghdr *request = first;
	int r = begin();

	(void)nl;
	ck_assert_int_eq(bus, NETLINK_ROUTE);
	memset(ack, 0, sizeof(*ack));
	if (ret_first)
		*ret_first = r < 0 ? -EINPROGRESS : 0;
	for (size_t i = 0; i < count; i++, request = mnl_nlmsg_get_payload_tail(request))
		note("%s%s", i ? "," : "", fake_tc_label(request));
	note(" %d; ", tc->tcm_ifindex);
	if (r < 0)
		return r;
	request = first;
	for (size_t i = 0; i < count; i++, request = mnl_nlmsg_get_payload_tail(request)) {
		r = fake_tc_answer(request, NULL, NULL);
		if (ret_first && i == 0)
			*ret_first = r;
	}
	return r;
}

/* What a test puts there */

struct nb_link *fake_add_link(const char *name, int index, uint32_t route_localnet, uint32_t tag)
{
	struct nb_link *link = &fake.links[fake.link_count++];

	ck_assert_uint_le(fake.link_count, FAKE_LINKS);
	memset(link, 0, sizeof(*link));
	link->index = index;
	link->hardware = 1;
	snprintf(link->name, sizeof(link->name), "%s", name);
	strcpy(link->kind, "bridge");
	link->route_localnet = route_localnet;
	link->tag = tag;
	return link;
}

struct nb_link *fake_find_link(const char *name)
{
	for (size_t i = 0; i < fake.link_count; i++)
		if (strcmp(fake.links[i].name, name) == 0)
			return &fake.links[i];
	ck_abort_msg("no device %s", name);
}
