/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PORT words of the command line, which read like ssh -L:
 *
 *	[LISTEN:][ADDRESS:]PORT[/tcp|/udp]
 *
 * A wrong word is refused with the right one, where that can be guessed.
 */
#include "nat-bridge/mapping.h"

#include <errno.h>
#include <string.h>

#include "text.h"

#define refuse(err, ...) nb_error_set(err, NB_STATUS_USAGE, EINVAL, "usage", __VA_ARGS__)

#define FORM "PORT is [LISTEN:][ADDRESS:]PORT[/tcp|/udp], such as 11434 or 15432:127.0.0.1:5432/tcp"

static bool is_number(const char *text)
{
	uint16_t port;

	return !nb_port_number_parse(text, &port);
}

/* "tcp" and "udp" in any case. */
static const char *protocol_guess(const char *text)
{
	if (!strcasecmp(text, "tcp"))
		return "tcp";
	return !strcasecmp(text, "udp") ? "udp" : NULL;
}

static int parse_protocol(const char *word, const char *body, const char *text, uint8_t *ret,
			  struct nb_error *err)
{
	int protocol = nb_protocol_parse(text);
	const char *guess = protocol_guess(text);

	if (protocol >= 0) {
		*ret = (uint8_t)protocol;
		return 0;
	}
	if (!*text)
		return refuse(err, "\"%s\" ends in a slash; write %s, or %s/udp", word, body, body);
	if (guess)
		return refuse(err, "\"%s\": protocols are written in lower case: %s/%s", word, body,
			      guess);
	guess = protocol_guess(body);
	if (guess && is_number(text))
		return refuse(err, "\"%s\": the port comes first: %s/%s", word, text, guess);
	return refuse(err, "\"%s\": \"%s\" is no protocol that can be mapped; write /tcp or /udp",
		      word, text);
}

/* "A:B": an address and a port, or the port dialled and the target's. */
static int parse_two(const char *word, char *const *parts, struct nb_port_spec *spec,
		     struct nb_error *err)
{
	int r;

	if (!*parts[0])
		return refuse(err, "\"%s\" begins with a colon; " FORM, word);
	if (!*parts[1] && is_number(parts[0]))
		return refuse(err,
			      "\"%s\" ends in a colon; write %s, or %s:5432 to reach another "
			      "port than the one dialled",
			      word, parts[0], parts[0]);
	if (is_number(parts[0]) && strchr(parts[1], '.'))
		return refuse(err, "\"%s\" lacks the target's port; write %s:%s:%s", word, parts[0],
			      parts[1], parts[0]);
	if (parts[0][strspn(parts[0], "+-,0123456789")] == '\0') {
		r = nb_port_part_parse(word, parts[0], &spec->port, err);
		return r ? r : nb_port_part_parse(word, parts[1], &spec->target.port, err);
	}
	r = nb_address_part_parse(word, parts[0], &spec->target.address, err);
	if (!r)
		r = nb_port_part_parse(word, parts[1], &spec->target.port, err);
	spec->port = spec->target.port;
	return r;
}

/* "LISTEN:ADDRESS:PORT" */
static int parse_three(const char *word, char *const *parts, struct nb_port_spec *spec,
		       struct nb_error *err)
{
	int r;

	if ((strchr(parts[0], '.') || !strcmp(parts[0], "localhost")) && is_number(parts[1]) &&
	    is_number(parts[2])) {
		const char *address = strchr(parts[0], '.') ? parts[0] : "127.0.0.1";

		if (nb_address_part_parse(word, address, &spec->target.address, NULL))
			address = "127.0.0.1";
		return refuse(err,
			      "\"%s\" is in Docker's order; here the port dialled comes first: "
			      "%s:%s:%s",
			      word, parts[1], address, parts[2]);
	}
	if (is_number(parts[0]) && is_number(parts[1]) && is_number(parts[2]))
		return refuse(err, "\"%s\" has three ports; write %s:%s, or %s:127.0.0.1:%s", word,
			      parts[0], parts[2], parts[0], parts[2]);
	r = nb_port_part_parse(word, parts[0], &spec->port, err);
	if (!r)
		r = nb_address_part_parse(word, parts[1], &spec->target.address, err);
	if (!r)
		r = nb_port_part_parse(word, parts[2], &spec->target.port, err);
	return r;
}

static int parse_body(const char *word, char *body, struct nb_port_spec *spec, struct nb_error *err)
{
	char *parts[4];
	size_t count;
	uint32_t address;
	int r;

	count = nb_split_colons(body, parts, 4);
	switch (count) {
	case 1:
		if (!nb_address_part_parse(word, body, &address, NULL))
			return refuse(err, "\"%s\" lacks a port; write %s:PORT", word, body);
		r = nb_port_part_parse(word, body, &spec->port, err);
		spec->target.port = spec->port;
		return r;
	case 2:
		return parse_two(word, parts, spec, err);
	case 3:
		return parse_three(word, parts, spec, err);
	default:
		return refuse(err, "\"%s\" has too many colons; " FORM, word);
	}
}

int nb_port_parse(const char *word, struct nb_port_spec *ret, struct nb_error *err)
{
	struct nb_port_spec spec = {
		.target.address = INADDR_LOOPBACK,
		.protocol = IPPROTO_TCP,
	};
	char body[64];
	char *slash;
	int r;

	if (!*word)
		return refuse(err, "an empty word is no port; " FORM);
	if (strlen(word) >= sizeof(body))
		return refuse(err, "\"%.40s...\" is too long; " FORM, word);
	for (const char *c = word; *c; c++) {
		if (*c <= ' ' || *c > '~')
			return refuse(err,
				      "\"%s\" holds a blank, a control character or one that "
				      "is not ASCII; " FORM,
				      word);
	}
	r = nb_word_refuse_ipv6(word, err);
	if (r)
		return r;
	memcpy(body, word, strlen(word) + 1);
	slash = strchr(body, '/');
	if (slash) {
		*slash = '\0';
		r = parse_protocol(word, body, slash + 1, &spec.protocol, err);
		if (r)
			return r;
	}
	spec.target_given = strchr(body, ':') != NULL;
	r = parse_body(word, body, &spec, err);
	if (r)
		return r;
	*ret = spec;
	return 0;
}
