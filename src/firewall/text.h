/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A rule of somebody's in words, for messages. */
#ifndef NAT_BRIDGE_FIREWALL_TEXT_H
#define NAT_BRIDGE_FIREWALL_TEXT_H

#include <libnftnl/rule.h>
#include <stddef.h>

/*
 * About what `nft list` says of @rule. What this does not know is named in brackets: this is
 * to recognise a rule by, not to load again. Always ends with a NUL. Returns @buffer.
 */
char *nb_rule_text(const struct nftnl_rule *rule, char *buffer, size_t size);

#endif
