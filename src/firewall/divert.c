/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Other courses. Whoever translates a connection first decides where it goes, and our
 * translation looks at what the packet says when it comes there.
 */
#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "divert.h"

struct nb_diversion nb_divert_translated(const struct nb_course *course,
					 const struct nb_packet *packet,
					 const struct nb_nat_range *range)
{
	uint16_t first = range->first_port ? range->first_port : packet->ct_dialled;
	uint16_t last = range->first_port ? range->last_port : packet->ct_dialled;
	struct nb_diversion diversion = {
		.truth = NB_MAYBE,
		.to = { .address = range->first_address, .port = first },
	};

	if (!course->target.port || !packet->ct_dialled)
		return diversion;
	/* an address that stays is the one that was dialled, which is none of 127.0.0.0/8 */
	if (course->target.address < range->first_address ||
	    course->target.address > range->last_address || course->target.port < first ||
	    course->target.port > last)
		diversion.truth = NB_YES;
	else if (range->first_address == range->last_address && first == last)
		diversion.truth = NB_NO;
	return diversion;
}

struct nb_diversion nb_divert_redirected(const struct nb_course *course,
					 const struct nb_packet *packet, uint16_t port)
{
	const struct nb_nat_range range = { .first_port = port, .last_port = port };

	return nb_divert_translated(course, packet, &range);
}

struct field {
	unsigned int field; /* NB_FIELD_* */
	uint32_t base, offset, length;
};

static enum nb_truth differs(const uint8_t *old, const uint8_t *old_known, const uint8_t *value,
			     const uint8_t *known, size_t length)
{
	enum nb_truth result = NB_NO;

	for (size_t i = 0; i < length; i++) {
		if ((old[i] ^ value[i]) & old_known[i] & known[i])
			return NB_YES;
		if ((old_known[i] & known[i]) != 0xff)
			result = NB_MAYBE;
	}
	return result;
}

static bool is_known(const uint8_t *known, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (known[i] != 0xff)
			return false;
	return true;
}

/* One of the host's addresses, nobody knows which, becomes another: does it stay one? */
static enum nb_truth leaves_host(const struct nb_course *course, const struct nb_packet *packet,
				 const struct field *field, const uint8_t *value)
{
	bool source = field->field == NB_FIELD_SOURCE;
	uint8_t type = source ? packet->source_type : packet->destination_type;
	uint32_t address;
	uint8_t becomes;

	memcpy(&address, value, sizeof(address));
	becomes = course->type_of && type == RTN_LOCAL
			  ? course->type_of(course->data, ntohl(address))
			  : 0;
	if (!becomes)
		return NB_MAYBE;
	if (becomes != RTN_LOCAL)
		return NB_YES;
	/* the connection remembers the one that was dialled, and the answer gets that back */
	return !source && nb_packet_is_tracked(packet) ? NB_NO : NB_MAYBE;
}

static enum nb_truth diverts(const struct nb_course *course, const struct nb_packet *packet,
			     const struct field *field, const uint8_t *value, const uint8_t *known)
{
	bool ports = field->base == NFT_PAYLOAD_TRANSPORT_HEADER;
	const uint8_t *old = ports ? packet->ports : packet->header;
	const uint8_t *old_known = ports ? packet->ports_known : packet->header_known;
	enum nb_truth truth = differs(old + field->offset, old_known + field->offset, value, known,
				      field->length);

	/* an address of which something is known is no dialled one, which may be any of the host's */
	if (truth != NB_MAYBE || ports || !is_known(known, field->length) ||
	    old_known[field->offset])
		return truth;
	return leaves_host(course, packet, field, value);
}

struct nb_diversion nb_divert_written(const struct nb_course *course,
				      const struct nb_packet *packet, uint32_t base,
				      uint32_t offset, const uint8_t *value, const uint8_t *known,
				      uint32_t length)
{
	static const struct field fields[] = {
		{ NB_FIELD_SOURCE, NFT_PAYLOAD_NETWORK_HEADER, 12, 4 },
		{ NB_FIELD_DESTINATION, NFT_PAYLOAD_NETWORK_HEADER, 16, 4 },
		{ NB_FIELD_SOURCE_PORT, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2 },
		{ NB_FIELD_DESTINATION_PORT, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2 },
	};
	struct nb_diversion diversion = { .truth = NB_NO };

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct field *field = &fields[i];
		enum nb_truth truth = NB_MAYBE;
		uint16_t port;

		if (!(course->fixed & field->field) || base != field->base ||
		    offset >= field->offset + field->length || offset + length <= field->offset)
			continue;
		/* in part: nobody writes so what is meant to be another connection */
		if (offset <= field->offset && offset + length >= field->offset + field->length)
			truth = diverts(course, packet, field, value + (field->offset - offset),
					known + (field->offset - offset));
		if (truth <= diversion.truth)
			continue;
		diversion.truth = truth;
		if (truth != NB_YES || field->field == NB_FIELD_SOURCE ||
		    field->field == NB_FIELD_SOURCE_PORT)
			continue;
		memcpy(&port, &packet->ports[2], sizeof(port));
		if (field->field == NB_FIELD_DESTINATION) {
			memcpy(&diversion.to.address, value + (field->offset - offset), 4);
			diversion.to.address = ntohl(diversion.to.address);
		} else {
			memcpy(&port, value + (field->offset - offset), sizeof(port));
		}
		diversion.to.port = ntohs(port);
	}
	return diversion;
}
