/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Somebody who uses our bit of the packet mark. */
#ifndef NAT_BRIDGE_FIREWALL_CLASH_H
#define NAT_BRIDGE_FIREWALL_CLASH_H

#include "nat-bridge/error.h"
#include "walk.h"

/* "rule 7 of chain ip filter OUTPUT (text)". */
void nb_place_text(const struct nb_place *place, char *buffer, size_t size);

/* Warn of the first rule that sets a bit of @mark, or asks for it and not for the whole mark. */
void nb_clash_advise(const struct nb_chain_list *chains, uint32_t mark,
		     struct nb_warnings *warnings);

#endif
