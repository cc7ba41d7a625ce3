/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "fake_kernel.h"
#include "reading.h"
#include "unit.h"
#include "world.h"

struct nb_netlink *nl;
struct nb_state state;
struct nb_error err;

int read_with(const struct nb_element_list *keys, unsigned int flags)
{
	nb_state_clear(&state);
	fake.exchanges = 0;
	return nb_state_read(nl, MARK, keys, flags, &state, &err);
}

void must_read(void)
{
	ck_assert_msg(read_with(NULL, NB_READ_DNAT) == 0, "%s", err.message);
}

void set_up(unsigned int ports)
{
	struct world w = { 0 };
	struct nb_outcome outcome = { 0 };

	fake_reset();
	nl = nb_netlink_new();
	ck_assert_ptr_nonnull(nl);
	memset(&state, 0, sizeof(state));
	fake_add_link("br0", 3, 1, 0);
	fake_add_link("br1", 4, 0, 0);
	for (unsigned int i = 0; i < ports; i++)
		wants(&w, "br0", "iface:br0", IPPROTO_TCP, 1000 + i, 80);
	if (ports) {
		struct nb_mapping mapping = mapping_of("docker:web", IPPROTO_UDP, 53, 53);

		mapping.runtime = true;
		mapping.until = nb_now_ms() / 1000 + 1000;
		ck_assert_int_eq(nb_desired_add(&w.desired, "br1", &mapping), 0);
		must_read();
		w.state = state;
		memset(&state, 0, sizeof(state));
		planned(&w);
		ck_assert_int_eq(nb_plan_execute(nl, &w.plan, &w.state, MARK, &outcome, NULL, &err),
				 0);
	}
	world_clear(&w);
}

void tear_down(void)
{
	nb_state_clear(&state);
	nb_netlink_free(nl);
	fake_reset();
}

struct nftnl_rule *new_rule(uint8_t family, const char *table, const char *chain)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();

	ck_assert_ptr_nonnull(rule);
	nftnl_rule_set_u32(rule, NFTNL_RULE_FAMILY, family);
	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, table);
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain);
	return rule;
}
