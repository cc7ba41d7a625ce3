/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Userdata of tables, rules and elements: type, length, bytes. Anybody may
 * have written it, and libnftnl 1.2.4 reads on behind what is cut off.
 */
#ifndef NAT_BRIDGE_USERDATA_H
#define NAT_BRIDGE_USERDATA_H

#include <stddef.h>
#include <stdint.h>

/* The text of @type in @data, which ends in a NUL inside it; or NULL. */
const char *nb_userdata_text(const void *data, size_t length, uint8_t type);

#endif
