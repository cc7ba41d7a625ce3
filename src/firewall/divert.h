/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules that send a packet elsewhere: a translation that comes before ours, and what is written
 * into its addresses and ports.
 */
#ifndef NAT_BRIDGE_FIREWALL_DIVERT_H
#define NAT_BRIDGE_FIREWALL_DIVERT_H

#include "packet.h"

/* Parts of a packet that say to which connection it belongs. */
enum {
	NB_FIELD_SOURCE = 1 << 0, /* its address */
	NB_FIELD_DESTINATION = 1 << 1,
	NB_FIELD_SOURCE_PORT = 1 << 2,
	NB_FIELD_DESTINATION_PORT = 1 << 3,
	NB_FIELD_ALL = (1 << 4) - 1,
};

/* What is asked of a packet, and how to judge an address. */
struct nb_course {
	/* where a translation has to lead; port 0: not known, and so nothing is certain */
	struct nb_target target;
	unsigned int fixed; /* NB_FIELD_*: what has to stay as it is */
	/* RTN_* of an address in host byte order, 0: not known. NULL: of none it is known */
	uint8_t (*type_of)(void *data, uint32_t address);
	void *data;
};

/* Another course. */
struct nb_diversion {
	enum nb_truth truth;
	/* where to; address 0: the same, or one of the host's; both 0: not known */
	struct nb_target to;
};

/* A destination that a translation gives: from, to. 0: as it is. Host byte order. */
struct nb_nat_range {
	uint32_t first_address, last_address;
	uint16_t first_port, last_port;
};

/* Does a translation of @packet, which was not translated before, lead where it should? */
struct nb_diversion nb_divert_translated(const struct nb_course *course,
					 const struct nb_packet *packet,
					 const struct nb_nat_range *range);
/* A redirection, to an address of the device it came in from; 0: the same port. */
struct nb_diversion nb_divert_redirected(const struct nb_course *course,
					 const struct nb_packet *packet, uint16_t port);
/*
 * @length bytes are written at @offset behind @base (NFT_PAYLOAD_*); those bits of @value count
 * that are set in @known. @packet is what it was before.
 */
struct nb_diversion nb_divert_written(const struct nb_course *course,
				      const struct nb_packet *packet, uint32_t base,
				      uint32_t offset, const uint8_t *value, const uint8_t *known,
				      uint32_t length);

#endif
