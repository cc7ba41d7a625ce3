/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions to services. */
#include "nat-bridge/payload.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const char line[] = "nat-bridge verify\r\n";
static const unsigned char dns_query[] = {
	0x6e, 0x62, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0, /* one question, recursion desired */
	0,    0,    2,	  0,	1,			/* the root's name servers: ". NS IN" */
};

/* Its length, version 3.0, and pairs of words; each ends with a 0 byte, and so do all. */
static const char postgresql_startup[] = "\0\0\0\x29\0\3\0\0"
					 "user\0" NB_PAYLOAD_POSTGRESQL_USER
					 "\0database\0postgres\0";

enum nb_dialect nb_payload_dialect(uint8_t protocol, uint16_t port, const char *program)
{
	/* the beginning of a name: "postgres", "pgbouncer", "redis-server", "valkey-server" */
	static const struct {
		const char *program;
		uint16_t port;
		enum nb_dialect dialect;
	} rows[] = {
		{ "postgres", 5432, NB_DIALECT_POSTGRESQL },
		{ "pgbouncer", 6432, NB_DIALECT_POSTGRESQL },
		{ "redis", 6379, NB_DIALECT_REDIS },
		{ "valkey", 6379, NB_DIALECT_REDIS },
	};

	if (protocol == IPPROTO_UDP)
		return port == 53 ? NB_DIALECT_DNS : NB_DIALECT_NONE;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strncmp(program, rows[i].program, strlen(rows[i].program)) == 0)
			return rows[i].dialect;
	/* behind a proxy, or in a container, nobody has the program's name */
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (port == rows[i].port)
			return rows[i].dialect;
	return NB_DIALECT_HTTP;
}

size_t nb_payload_write(enum nb_dialect dialect, const char *host, void *buffer)
{
	_Static_assert(sizeof(postgresql_startup) == 0x29, "the length that it says");

	switch (dialect) {
	case NB_DIALECT_HTTP:
		return (size_t)snprintf(
			buffer, NB_PAYLOAD_SIZE,
			"GET / HTTP/1.1\r\nHost: %.128s\r\nUser-Agent: nat-bridge\r\n"
			"Accept: */*\r\nConnection: close\r\n\r\n",
			host);
	case NB_DIALECT_POSTGRESQL:
		memcpy(buffer, postgresql_startup, sizeof(postgresql_startup));
		return sizeof(postgresql_startup);
	case NB_DIALECT_REDIS:
		memcpy(buffer, "PING\r\n", 6);
		return 6;
	case NB_DIALECT_DNS:
		memcpy(buffer, dns_query, sizeof(dns_query));
		return sizeof(dns_query);
	case NB_DIALECT_LINE:
		memcpy(buffer, line, sizeof(line) - 1);
		return sizeof(line) - 1;
	default:
		return 0;
	}
}
