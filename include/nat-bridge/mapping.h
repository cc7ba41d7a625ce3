/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The words of the program: network, target, mapping. No I/O.
 *
 * Byte order: addresses and ports are in host byte order everywhere outside
 * src/ruleset and src/netlink.
 */
#ifndef NAT_BRIDGE_MAPPING_H
#define NAT_BRIDGE_MAPPING_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nat-bridge/error.h"

#define NB_IFNAME_SIZE	     16 /* IFNAMSIZ, with the NUL */
#define NB_NETWORK_NAME_SIZE 96
#define NB_NETWORK_SIZE	     (NB_NETWORK_NAME_SIZE + 8) /* "docker:" + name + NUL */
#define NB_TARGET_SIZE	     sizeof("127.255.255.255:65535")
#define NB_COMMENT_SIZE	     256 /* of a mapping in a rule file, with the NUL */

enum nb_engine {
	NB_ENGINE_IFACE,
	NB_ENGINE_DOCKER,
	NB_ENGINE_PODMAN,
	NB_ENGINE_COUNT,
	/* no engine: whichever has a container of that name */
	NB_ENGINE_CONTAINER = NB_ENGINE_COUNT,
};

/*
 * What a mapping names. Always qualified where it is stored. The name of an engine's network
 * may be a pattern, in which '*' stands for any characters: each network that it matches, at
 * any time.
 */
struct nb_network {
	enum nb_engine engine;
	char name[NB_NETWORK_NAME_SIZE];
};

/* "iface", "docker", "podman", "container" */
const char *nb_engine_name(enum nb_engine engine);

/*
 * Is @name a name that the kernel takes and that we are willing to print into
 * a ruleset? Refused: empty, ".", "..", 16 bytes or more, slash, colon,
 * quotes, '*', backslash, blanks, control and non-ASCII characters.
 * On refusal *@why (if not NULL) is a phrase such as "is longer than 15 bytes".
 */
bool nb_ifname_valid(const char *name, const char **why);

/*
 * Parse "ENGINE:NAME". A bare name (no known prefix) gives -ENOENT without
 * touching @err when @err is NULL, and otherwise an error that names the
 * qualified spelling. A bad name is -EINVAL, status NB_STATUS_USAGE.
 * @ret is untouched on failure.
 */
int nb_network_parse(const char *text, struct nb_network *ret, struct nb_error *err);

/* True if @text begins with a known "engine:" prefix. */
bool nb_network_is_qualified(const char *text);

bool nb_network_is_pattern(const struct nb_network *network);
/* Is @name what @pattern (a pattern or not) means? Both are of the same engine. */
bool nb_network_matches(const struct nb_network *pattern, const char *name);
/* May more than one bridge be this network? A pattern, or a container's. */
bool nb_network_is_several(const struct nb_network *network);

/* Write "engine:name" and return @buffer, which holds NB_NETWORK_SIZE bytes. */
const char *nb_network_format(const struct nb_network *network, char *buffer);
int nb_network_compare(const struct nb_network *a, const struct nb_network *b);

/* A 127.0.0.0/8 address and port on the host. */
struct nb_target {
	uint32_t address;
	uint16_t port;
};

/* Write "127.0.0.1:8088" and return @buffer, which holds NB_TARGET_SIZE bytes. */
const char *nb_target_format(const struct nb_target *target, char *buffer);
bool nb_target_equal(const struct nb_target *a, const struct nb_target *b);
/*
 * Parse "ADDRESS:PORT" or "PORT" (then 127.0.0.1) as it stands in rule files.
 * -EINVAL: not plain decimal, outside 127.0.0.0/8, 127.255.255.255, IPv6.
 */
int nb_target_parse(const char *text, struct nb_target *ret, struct nb_error *err);

/* "tcp" or "udp" */
const char *nb_protocol_name(uint8_t protocol);
/* Returns IPPROTO_TCP, IPPROTO_UDP, or -EINVAL. */
int nb_protocol_parse(const char *text);

/* One thing that containers may reach. Its key is (network, protocol, port). */
struct nb_mapping {
	struct nb_network network;
	struct nb_target target;
	uint16_t port; /* the port dialled */
	uint8_t protocol;
	bool enabled;
	bool external; /* the network may be one that others can reach */
	bool runtime;  /* lives in the kernel alone */
	int64_t until; /* seconds since the epoch, 0 = for ever */
	char *comment; /* owned, or NULL */
	/* of a pattern: the networks that it leaves out, qualified, blanks between them; or NULL */
	char *except;
	size_t file; /* index into nb_rules.files; SIZE_MAX: none */
	unsigned int line;
	unsigned int place; /* among the mappings of its file, from 0 on */
};

/* Order by network, protocol, port. */
int nb_mapping_compare_key(const struct nb_mapping *a, const struct nb_mapping *b);

struct nb_mapping_list {
	struct nb_mapping *items;
	size_t count;
	size_t capacity;
};

/* Free what it owns. */
void nb_mapping_clear(struct nb_mapping *mapping);
/* Let @to own copies of what @from owns. -ENOMEM: it owns nothing. */
int nb_mapping_copy_texts(struct nb_mapping *to, const struct nb_mapping *from);
/* Does @mapping, whose network is a pattern, leave out this network of the same engine? */
bool nb_mapping_excepts(const struct nb_mapping *mapping, const char *name);
/*
 * Put the network @word ("docker:x", a pattern, or "x" for one of @mapping's engine) into
 * mapping->except, unless it is there. -EINVAL with @err, or -ENOMEM.
 */
int nb_mapping_except(struct nb_mapping *mapping, const char *word, struct nb_error *err);
/* The same for all that @other leaves out. */
int nb_mapping_except_likewise(struct nb_mapping *mapping, const struct nb_mapping *other);
/* Does mapping->except go with its network? -EINVAL with @err if not. */
int nb_mapping_check_except(const struct nb_mapping *mapping, struct nb_error *err);

/* Append a copy that owns its texts. -ENOMEM on failure. */
int nb_mapping_list_append(struct nb_mapping_list *list, const struct nb_mapping *mapping);
void nb_mapping_list_sort(struct nb_mapping_list *list); /* stable, by key */
void nb_mapping_list_clear(struct nb_mapping_list *list);

/* What a PORT word of the command line says. */
struct nb_port_spec {
	uint16_t port; /* dialled */
	struct nb_target target;
	uint8_t protocol;
	bool target_given; /* the word named a target address or another target port */
};

/*
 * Parse "[LISTEN:][ADDRESS:]PORT[/tcp|/udp]". Errors are status
 * NB_STATUS_USAGE, at most four lines, and show the right spelling where one
 * can be guessed ("127.0.0.1:15432:5432" -> "15432:127.0.0.1:5432").
 * @ret is untouched on failure.
 */
int nb_port_parse(const char *word, struct nb_port_spec *ret, struct nb_error *err);

/* Plain decimal 1-65535, no sign, no leading zero, nothing behind it. -EINVAL otherwise. */
int nb_port_number_parse(const char *text, uint16_t *ret);

/* "90s", "15m", "2h", "7d" (a positive plain decimal and one unit) to seconds; -EINVAL. */
int nb_duration_parse(const char *text, int64_t *ret_seconds, struct nb_error *err);

/* RFC 3339 in UTC: "2026-11-23T05:49:21Z". Fractions and other offsets are read, too. */
#define NB_TIME_SIZE sizeof("2026-11-23T05:49:21Z")
const char *nb_time_format(int64_t seconds, char *buffer);
int nb_time_parse(const char *text, int64_t *ret_seconds);

/*
 * Of @count names, the index of the one nearest to @wanted by edit distance,
 * or SIZE_MAX if none is near enough to be worth naming.
 */
size_t nb_nearest(const char *wanted, const char *const *names, size_t count);

#endif
