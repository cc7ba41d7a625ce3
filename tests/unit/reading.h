/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state, read from the kernel in memory. One of each for the test that runs. */
#ifndef NAT_BRIDGE_READING_H
#define NAT_BRIDGE_READING_H

#include <libnftnl/rule.h>

#include "nat-bridge/ruleset.h"

#define MARK UINT32_C(0x10000000)

extern struct nb_netlink *nl;
extern struct nb_state state;
extern struct nb_error err;

/* Devices br0 and br1; with @ports a table of ours with so many mappings of br0, one of br1. */
void set_up(unsigned int ports);
void tear_down(void);

/* nb_state_read() into `state`, which is cleared before. */
int read_with(const struct nb_element_list *keys, unsigned int flags);
/* All of it, and it must succeed. */
void must_read(void);

/* A rule without expressions, for nft_rules.h to fill. */
struct nftnl_rule *new_rule(uint8_t family, const char *table, const char *chain);

#endif
