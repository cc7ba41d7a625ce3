/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What --payload sends to a service: the least that its protocol takes for a question. Nothing of
 * it changes anything at the service, and it holds no name and no password.
 */
#ifndef NAT_BRIDGE_PAYLOAD_H
#define NAT_BRIDGE_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

#define NB_PAYLOAD_SIZE 256

enum nb_dialect {
	NB_DIALECT_NONE, /* nothing is known that it would answer */
	NB_DIALECT_HTTP,
	NB_DIALECT_POSTGRESQL,
	NB_DIALECT_REDIS,
	NB_DIALECT_DNS,	 /* by UDP */
	NB_DIALECT_LINE, /* a line of text, for any service */
	NB_DIALECT_COUNT,
};

/* Whom a PostgreSQL is asked for: an account that nearly every one has. */
#define NB_PAYLOAD_POSTGRESQL_USER "postgres"

/*
 * Which protocol a service most likely speaks: by the name of its program ("" if that is not
 * known), else by its port (host byte order). What neither says is HTTP, by TCP.
 */
enum nb_dialect nb_payload_dialect(uint8_t protocol, uint16_t port, const char *program);
/*
 * Write the question, at most NB_PAYLOAD_SIZE bytes; returns how many. @host is the Host header of
 * HTTP, at most 128 bytes: "host.docker.internal:8080".
 */
size_t nb_payload_write(enum nb_dialect dialect, const char *host, void *buffer);

#endif
