/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Traffic control of the kernel in memory: qdisc clsact, and classifiers of kind bpf. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "fake_tc.h"
#include "nat-bridge/ingress.h"
#include "unit.h"

#define INGRESS TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define EGRESS	TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)

struct fake_ingress *fake_find_ingress(const char *name)
{
	return &fake.ingress[fake_find_link(name) - fake.links];
}

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker makes these names */
int __wrap_nb_ingress_load(uint32_t mark);
/* NOLINTEND(bugprone-reserved-identifier) */

int __wrap_nb_ingress_load(uint32_t mark)
{
	ck_assert_uint_ne(mark, 0);
	return fake.bpf ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -EPERM;
}

static struct fake_ingress *find(const struct tcmsg *tc)
{
	for (size_t i = 0; i < fake.link_count; i++)
		if (fake.links[i].index == tc->tcm_ifindex)
			return &fake.ingress[i];
	return NULL;
}

static int answer_qdiscs(callback_fn *callback, void *data)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < fake.link_count; i++) {
		char buffer[256] = { 0 };
		struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
		struct tcmsg *tc;

		message->nlmsg_type = RTM_NEWQDISC;
		tc = mnl_nlmsg_put_extra_header(message, sizeof(*tc));
		tc->tcm_ifindex = fake.links[i].index;
		tc->tcm_parent = fake.ingress[i].clsact ? TC_H_CLSACT : TC_H_ROOT;
		mnl_attr_put_strz(message, TCA_KIND, fake.ingress[i].clsact ? "clsact" : "noqueue");
		r = callback(message, data);
	}
	return r;
}

static int answer_filter(int ifindex, const char *kind, uint32_t priority, uint32_t handle,
			 const char *name, callback_fn *callback, void *data)
{
	char buffer[512] = { 0 };
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct nlattr *options;
	struct tcmsg *tc;

	message->nlmsg_type = RTM_NEWTFILTER;
	tc = mnl_nlmsg_put_extra_header(message, sizeof(*tc));
	tc->tcm_ifindex = ifindex;
	tc->tcm_info = TC_H_MAKE(priority << 16, htons(ETH_P_ALL));
	tc->tcm_handle = handle;
	mnl_attr_put_strz(message, TCA_KIND, kind);
	if (handle) {
		options = mnl_attr_nest_start(message, TCA_OPTIONS);
		if (name[0])
			mnl_attr_put_strz(message, TCA_BPF_NAME, name);
		mnl_attr_nest_end(message, options);
	}
	return callback(message, data);
}

/* Of each priority the kernel shows the priority itself, and then its filters. */
static int answer_filters(const struct tcmsg *tc, callback_fn *callback, void *data)
{
	const struct fake_ingress *at = find(tc);
	uint32_t foreign;
	int r = 0;

	if (!at || !at->clsact)
		return at ? 0 : -ENODEV;
	foreign = tc->tcm_parent == EGRESS ? at->foreign_egress : at->foreign;
	for (uint32_t handle = 0; foreign && r == 0 && handle < 2; handle++)
		r = answer_filter(tc->tcm_ifindex, handle ? "u32" : "bpf", foreign, handle, "",
				  callback, data);
	for (uint32_t times = 0; tc->tcm_parent == INGRESS && at->priority && r == 0 && times < 2;
	     times++)
		r = answer_filter(tc->tcm_ifindex, "bpf", at->priority, times ? at->handle : 0,
				  at->name, callback, data);
	return r;
}

static const struct nlattr *find_attribute(const struct nlmsghdr *request, uint16_t type)
{
	struct nlattr *attr;

	mnl_attr_for_each(attr, request, sizeof(struct tcmsg))
		if (mnl_attr_get_type(attr) == type)
			return attr;
	return NULL;
}

static int new_qdisc(const struct nlmsghdr *request, struct fake_ingress *at)
{
	if (fake.no_clsact)
		return fake.no_clsact;
	if (at->clsact)
		return -EEXIST;
	if (find_attribute(request, TCA_INGRESS_BLOCK))
		return -EINVAL;
	at->clsact = true;
	return 0;
}

static int new_filter(const struct nlmsghdr *request, struct fake_ingress *at)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(request);
	const struct nlattr *options = find_attribute(request, TCA_OPTIONS);
	uint32_t priority = TC_H_MAJ(tc->tcm_info) >> 16;
	struct nlattr *attr;
	bool descriptor = false;

	if (fake.no_filter)
		return fake.no_filter;
	if (!at->clsact || priority == at->foreign)
		return -EINVAL;
	if (at->priority && request->nlmsg_flags & NLM_F_EXCL)
		return -EEXIST;
	ck_assert_ptr_nonnull(options);
	ck_assert_uint_eq(TC_H_MIN(tc->tcm_info), htons(ETH_P_ALL));
	mnl_attr_for_each_nested(attr, options) {
		descriptor |= mnl_attr_get_type(attr) == TCA_BPF_FD;
		if (mnl_attr_get_type(attr) == TCA_BPF_FLAGS)
			ck_assert_uint_eq(mnl_attr_get_u32(attr), TCA_BPF_FLAG_ACT_DIRECT);
		if (mnl_attr_get_type(attr) == TCA_BPF_NAME)
			snprintf(at->name, sizeof(at->name), "%s", mnl_attr_get_str(attr));
	}
	ck_assert(descriptor);
	at->priority = priority;
	at->handle = tc->tcm_handle;
	return 0;
}

static int delete_filter(const struct tcmsg *tc, struct fake_ingress *at)
{
	if (!at->clsact)
		return -EINVAL;
	if (at->priority != TC_H_MAJ(tc->tcm_info) >> 16 || at->handle != tc->tcm_handle)
		return -ENOENT;
	at->priority = at->handle = 0;
	return 0;
}

static int ask_chain(const struct nlmsghdr *request, struct fake_ingress *at)
{
	const struct nlattr *chain = find_attribute(request, TCA_CHAIN);

	ck_assert_ptr_nonnull(chain);
	ck_assert_uint_eq(mnl_attr_get_u32(chain), NB_INGRESS_HANDLE);
	if (!at->clsact || (request->nlmsg_type != RTM_NEWCHAIN && !at->chain))
		return -EINVAL;
	if (request->nlmsg_type == RTM_NEWCHAIN && at->chain)
		return -EEXIST;
	if (request->nlmsg_type != RTM_GETCHAIN)
		at->chain = request->nlmsg_type == RTM_NEWCHAIN;
	return 0;
}

static int delete_qdisc(struct fake_ingress *at)
{
	if (!at->clsact)
		return -ENOENT;
	memset(at, 0, sizeof(*at));
	return 0;
}

bool fake_tc_is_request(const struct nlmsghdr *request)
{
	return (request->nlmsg_type >= RTM_NEWQDISC && request->nlmsg_type <= RTM_GETTFILTER) ||
	       (request->nlmsg_type >= RTM_NEWCHAIN && request->nlmsg_type <= RTM_GETCHAIN);
}

int fake_tc_answer(const struct nlmsghdr *request, callback_fn *callback, void *data)
{
	const struct tcmsg *tc = mnl_nlmsg_get_payload(request);
	struct fake_ingress *at = find(tc), loopback = { 0 };

	if (request->nlmsg_type == RTM_GETQDISC)
		return answer_qdiscs(callback, data);
	if (request->nlmsg_type == RTM_GETTFILTER)
		return answer_filters(tc, callback, data);
	if (!at && tc->tcm_ifindex == 1)
		at = &loopback;
	if (!at)
		return -ENODEV;
	switch (request->nlmsg_type) {
	case RTM_NEWQDISC:
		return new_qdisc(request, at);
	case RTM_DELQDISC:
		return delete_qdisc(at);
	case RTM_NEWTFILTER:
		return new_filter(request, at);
	case RTM_DELTFILTER:
		return delete_filter(tc, at);
	case RTM_NEWCHAIN:
	case RTM_DELCHAIN:
	case RTM_GETCHAIN:
		return ask_chain(request, at);
	}
	return -EOPNOTSUPP;
}

const char *fake_tc_label(const struct nlmsghdr *request)
{
	switch (request->nlmsg_type) {
	case RTM_NEWQDISC:
		return find_attribute(request, TCA_INGRESS_BLOCK) ? "?clsact" : "+clsact";
	case RTM_DELQDISC:
		return "-clsact";
	case RTM_NEWTFILTER:
		return "+filter";
	case RTM_DELTFILTER:
		return "-filter";
	case RTM_NEWCHAIN:
		return "+chain";
	case RTM_DELCHAIN:
		return "-chain";
	}
	return NULL;
}
