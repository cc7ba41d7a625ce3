/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Small readers shared inside src/model and src/rules: UTF-8, plain numbers,
 * the parts of a PORT word or of a rule file's target.
 */
#ifndef NAT_BRIDGE_TEXT_H
#define NAT_BRIDGE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nat-bridge/error.h"

/* Bytes of the UTF-8 sequence that begins at @text: 1 to 4, or 0 if it is none. */
size_t nb_utf8_sequence(const char *text, size_t length);

/*
 * Copy @from as one line of UTF-8, cut to @size bytes: messages quote words
 * and file names of anybody, which must neither break a line, nor drive a
 * terminal, nor end in half a character.
 */
void nb_copy_line(char *to, size_t size, const char *from);

/*
 * Letters, digits, "_", "." and "-", and no "-" first: a word that a shell hands on as it stands, and
 * that no program takes for an option. Names that somebody else has chosen, a container's of a table
 * or a device above all, are put into a command that root is to type only if they are one.
 */
bool nb_is_plain_word(const char *text);

/*
 * "net.ipv4.conf.br0.rp_filter", as sysctl(8) takes it: with a dot in the name of the device it would
 * be another setting, and slashes are between the parts. Returns @buffer.
 */
#define NB_SETTING_SIZE 64
const char *nb_setting_text(const char *device, const char *key, char buffer[NB_SETTING_SIZE]);

/*
 * A port as one part of @word, "80". Errors are status NB_STATUS_USAGE, code
 * "usage", quote the word and show the spelling that was probably meant.
 */
int nb_port_part_parse(const char *word, const char *part, uint16_t *ret, struct nb_error *err);

/* A target address, "127.0.0.1", as one part of @word; host byte order. */
int nb_address_part_parse(const char *word, const char *part, uint32_t *ret, struct nb_error *err);

/* Refuse what looks like IPv6, before it is cut at its colons. 0: it does not. */
int nb_word_refuse_ipv6(const char *word, struct nb_error *err);

/* Cut @text at its colons, in place: the number of parts, at most @max (the last has the rest). */
size_t nb_split_colons(char *text, char **parts, size_t max);

#endif
