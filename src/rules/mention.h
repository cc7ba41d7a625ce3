/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does a file mention a port at all? Much cheaper to ask than to read what it says. */
#ifndef NAT_BRIDGE_MENTION_H
#define NAT_BRIDGE_MENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Does the number stand in the text, be it as "0080"? Not as a part of a longer one. */
bool nb_text_holds_number(const char *text, size_t length, const char *number);

/*
 * May the file @fd, from its beginning on, hold @port? Ports are plain
 * decimals there, which JSON cannot write otherwise. True also when it cannot be read.
 */
bool nb_file_may_hold_port(int fd, uint16_t port);

#endif
