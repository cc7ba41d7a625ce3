/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nat-bridge/mapping.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define DIGITS "0123456789"

#define refuse(err, ...) nb_error_set(err, NB_STATUS_USAGE, EINVAL, "usage", __VA_ARGS__)

const char *nb_target_format(const struct nb_target *target, char *buffer)
{
	uint32_t address = target->address;

	snprintf(buffer, NB_TARGET_SIZE, "%u.%u.%u.%u:%u", address >> 24, (address >> 16) & 255,
		 (address >> 8) & 255, address & 255, target->port);
	return buffer;
}

bool nb_target_equal(const struct nb_target *a, const struct nb_target *b)
{
	return a->address == b->address && a->port == b->port;
}

const char *nb_protocol_name(uint8_t protocol)
{
	return protocol == IPPROTO_UDP ? "udp" : "tcp";
}

int nb_protocol_parse(const char *text)
{
	if (!strcmp(text, "tcp"))
		return IPPROTO_TCP;
	if (!strcmp(text, "udp"))
		return IPPROTO_UDP;
	return -EINVAL;
}

int nb_port_number_parse(const char *text, uint16_t *ret)
{
	unsigned int value = 0;
	size_t length = strlen(text);

	if (length < 1 || length > 5 || strspn(text, DIGITS) != length || text[0] == '0')
		return -EINVAL;
	for (size_t i = 0; i < length; i++)
		value = 10 * value + (unsigned int)(text[i] - '0');
	if (value > 65535)
		return -EINVAL;
	*ret = (uint16_t)value;
	return 0;
}

static int refuse_range(struct nb_error *err, const char *word, const char *part)
{
	if (!strcmp(word, part))
		return refuse(err, "%s is not in 1-65535", part);
	return refuse(err, "\"%s\": %s is not in 1-65535", word, part);
}

/* "8000-8010" */
static int refuse_ports(struct nb_error *err, const char *word, const char *part)
{
	char *behind;
	unsigned long first = strtoul(part, &behind, 10);
	unsigned long last = strtoul(behind + 1, &behind, 10);

	if (*behind || !first || last <= first || last > 65535)
		return refuse(err,
			      "\"%s\": ranges are not taken; list the ports one by one, as "
			      "separate words",
			      word);
	return refuse(err,
		      "\"%s\": ranges are not taken; list the ports one by one, as separate "
		      "words: %lu %lu%s",
		      word, first, first + 1, last > first + 1 ? " ..." : "");
}

int nb_port_part_parse(const char *word, const char *part, uint16_t *ret, struct nb_error *err)
{
	size_t digits = strspn(part, DIGITS);
	const char *plain = part + strspn(part, "+0");
	uint16_t guess;

	if (!nb_port_number_parse(part, ret))
		return 0;
	if (!*part)
		return refuse(err, "\"%s\" lacks a port number; write it as 11434 or 15432:5432",
			      word);
	if (digits == strlen(part) && part[0] == '0' && !nb_port_number_parse(plain, &guess))
		return refuse(err, "\"%s\": a port has no leading zero; write %s", word, plain);
	if (digits == strlen(part))
		return refuse_range(err, word, part);
	if (strspn(part, "+-") == 1 && part[1 + strspn(part + 1, DIGITS)] == '\0' && part[1]) {
		if (!nb_port_number_parse(part + 1, &guess))
			return refuse(err, "\"%s\": a port has no sign; write %s", word, part + 1);
		return refuse_range(err, word, part);
	}
	if (digits && strspn(part, DIGITS "-") == strlen(part))
		return refuse_ports(err, word, part);
	if (digits && strspn(part, DIGITS ",") == strlen(part))
		return refuse(err, "\"%s\": write the ports as separate words, without commas",
			      word);
	if (!strcmp(word, part))
		return refuse(err, "\"%s\" is no port number (plain decimal, 1-65535)", word);
	return refuse(err, "\"%s\": \"%s\" is no port number (plain decimal, 1-65535)", word, part);
}

/* Four plain decimals. */
static int address_parse(const char *text, uint32_t *ret)
{
	uint32_t address = 0;

	for (int i = 0; i < 4; i++) {
		size_t digits = strspn(text, DIGITS);
		unsigned int octet = 0;

		if (digits < 1 || digits > 3 || (digits > 1 && text[0] == '0'))
			return -EINVAL;
		for (size_t j = 0; j < digits; j++)
			octet = 10 * octet + (unsigned int)(text[j] - '0');
		if (octet > 255 || text[digits] != (i < 3 ? '.' : '\0'))
			return -EINVAL;
		address = address << 8 | octet;
		text += digits + 1;
	}
	*ret = address;
	return 0;
}

int nb_address_part_parse(const char *word, const char *part, uint32_t *ret, struct nb_error *err)
{
	uint32_t address;

	if (!*part)
		return refuse(err, "\"%s\" lacks an address; write 127.0.0.1", word);
	if (!strcmp(part, "localhost"))
		return refuse(err, "\"%s\": write 127.0.0.1 in place of localhost", word);
	if (address_parse(part, &address))
		return refuse(err,
			      "\"%s\": \"%s\" is no IPv4 address (four plain decimals such as "
			      "127.0.0.1)",
			      word, part);
	if (!address)
		return refuse(err,
			      "\"%s\": 0.0.0.0 is no target; write 127.0.0.1, where a service "
			      "bound to 0.0.0.0 listens, too",
			      word);
	if (address >> 24 != 127)
		return refuse(err,
			      "\"%s\": %s is outside 127.0.0.0/8; only services on the host's "
			      "loopback can be targets, other addresses are dialled directly",
			      word, part);
	if (address == UINT32_C(0x7f000000) || address == UINT32_C(0x7fffffff))
		return refuse(err, "\"%s\": nothing listens on %s; write 127.0.0.1", word, part);
	*ret = address;
	return 0;
}

int nb_word_refuse_ipv6(const char *word, struct nb_error *err)
{
	const char *colons = strstr(word, "::");

	if (!strpbrk(word, "[]") && !colons)
		return 0;
	/* "80::80" is a slip of the finger, "1::2" hardly an address */
	if (colons && colons != word && strspn(word, DIGITS ":/tcpud") == strlen(word) &&
	    strspn(word, DIGITS) == (size_t)(colons - word) && colons[2])
		return refuse(err, "\"%s\": two colons in a row; write %.*s:%s", word,
			      (int)(colons - word), word, colons + 2);
	return refuse(err,
		      "\"%s\": IPv6 is no target, because the kernel has no route_localnet for "
		      "IPv6; make the service listen on 127.0.0.1, too, and write the port alone",
		      word);
}

int nb_target_parse(const char *text, struct nb_target *ret, struct nb_error *err)
{
	struct nb_target target = { .address = INADDR_LOOPBACK };
	char copy[64];
	char *parts[3];
	size_t count;
	int r;

	if (strlen(text) >= sizeof(copy))
		return refuse(err,
			      "\"%.60s...\" is too long for a target; write ADDRESS:PORT such as "
			      "127.0.0.1:8080",
			      text);
	r = nb_word_refuse_ipv6(text, err);
	if (r)
		return r;
	memcpy(copy, text, strlen(text) + 1);
	count = nb_split_colons(copy, parts, 3);
	if (count == 3)
		return refuse(err,
			      "\"%s\" has too many colons; write ADDRESS:PORT such as "
			      "127.0.0.1:8080",
			      text);
	if (count == 1 && !address_parse(copy, &target.address))
		return refuse(err, "\"%s\" lacks a port; write %s:PORT", text, text);
	if (count == 2) {
		r = nb_address_part_parse(text, parts[0], &target.address, err);
		if (r)
			return r;
	}
	r = nb_port_part_parse(text, parts[count - 1], &target.port, err);
	if (r)
		return r;
	*ret = target;
	return 0;
}
