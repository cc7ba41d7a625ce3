/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Elements as netlink attributes: what is sent is read back; what is damaged is refused. */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#include "ruleset/element.h"
#include "ruleset/schema.h"
#include "unit.h"

#define NOW INT64_C(1700000000000)

/* One message with room; its attributes follow the header at once. */
struct message {
	union {
		struct nlmsghdr header;
		char bytes[2048];
	};
};

static struct nlmsghdr *start(struct message *message)
{
	memset(message, 0x5a, sizeof(*message));
	return mnl_nlmsg_put_header(message->bytes);
}

/* The first attribute in a block of exactly its size, so that a read beyond it shows. */
static struct nlattr *take(const struct nlmsghdr *header)
{
	const struct nlattr *attr = mnl_nlmsg_get_payload(header);
	struct nlattr *copy;

	ck_assert_uint_eq(mnl_nlmsg_get_payload_len(header), MNL_ALIGN(attr->nla_len));
	copy = malloc(attr->nla_len);
	ck_assert_ptr_nonnull(copy);
	memcpy(copy, attr, attr->nla_len);
	return copy;
}

static struct nlattr *put(const struct nb_op *op)
{
	struct message message;
	struct nlmsghdr *header = start(&message);

	nb_element_put(header, op, NOW);
	return take(header);
}

static const struct nlattr *child(const struct nlattr *nest, uint16_t type)
{
	struct nlattr *attr;

	mnl_attr_for_each_nested(attr, nest)
		if (mnl_attr_get_type(attr) == type)
			return attr;
	return NULL;
}

/* The bytes of a key or a datum. */
static void value_is(const struct nlattr *nest, uint16_t type, const void *bytes, size_t length)
{
	const struct nlattr *value = child(nest, type);

	ck_assert_ptr_nonnull(value);
	value = child(value, NFTA_DATA_VALUE);
	ck_assert_ptr_nonnull(value);
	ck_assert_uint_eq(mnl_attr_get_payload_len(value), length);
	ck_assert_mem_eq(mnl_attr_get_payload(value), bytes, length);
}

static const struct nb_element sample = {
	.bridge = "br-app",
	.protocol = IPPROTO_UDP,
	.port = 0x1234,
	.target = { .address = 0x7f000102, .port = 0xabcd },
};

static const uint8_t sample_key[NB_ACCEPTED_KEY_LENGTH] = {
	'b', 'r', '-', 'a', 'p',  'p',	0, 0, 0,   0, 0, 0, 0,	  0,	0, 0,
	17,  0,	  0,   0,   0x12, 0x34, 0, 0, 127, 0, 1, 2, 0xab, 0xcd, 0, 0,
};

/* Put and get */

START_TEST(set_of_operation)
{
	static const struct {
		enum nb_op_kind kind;
		enum nb_set_id set;
	} rows[] = {
		{ NB_OP_BRIDGE_ADD, NB_SET_ID_BRIDGES },
		{ NB_OP_BRIDGE_DELETE, NB_SET_ID_BRIDGES },
		{ NB_OP_TARGET_ADD, NB_SET_ID_TARGETS },
		{ NB_OP_TARGET_DELETE, NB_SET_ID_TARGETS },
		{ NB_OP_ACCEPTED_ADD, NB_SET_ID_ACCEPTED },
		{ NB_OP_ACCEPTED_DELETE, NB_SET_ID_ACCEPTED },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		ck_assert_int_eq(nb_element_set_id(rows[i].kind), rows[i].set);
}
END_TEST

START_TEST(bridge_round_trip)
{
	struct nb_bridge bridge = { .name = "fifteen-letters" }, again;
	struct nb_op op = { .kind = NB_OP_BRIDGE_ADD, .bridge = &bridge };
	struct nlattr *attr = put(&op);

	ck_assert_ptr_null(child(attr, NFTA_SET_ELEM_USERDATA));
	value_is(attr, NFTA_SET_ELEM_KEY, "fifteen-letters", NB_IFNAME_SIZE);
	memset(&again, 0x55, sizeof(again));
	ck_assert_int_eq(nb_element_get_bridge(attr, &again), 0);
	ck_assert_str_eq(again.name, "fifteen-letters");
	ck_assert_str_eq(again.comment, "");
	free(attr);

	memset(bridge.comment, 'c', sizeof(bridge.comment) - 1);
	attr = put(&op);
	ck_assert_int_eq(nb_element_get_bridge(attr, &again), 0);
	ck_assert_str_eq(again.comment, bridge.comment);
	free(attr);

	/* a deletion asks for the key alone */
	op.kind = NB_OP_BRIDGE_DELETE;
	attr = put(&op);
	ck_assert_ptr_null(child(attr, NFTA_SET_ELEM_USERDATA));
	ck_assert_int_eq(nb_element_get_bridge(attr, &again), 0);
	ck_assert_str_eq(again.name, "fifteen-letters");
	free(attr);
}
END_TEST

START_TEST(target_round_trip)
{
	char comment[] = "runtime/iface:br-app";
	struct nb_element e = sample, again = { .port = 7 };
	struct nb_op op = { .kind = NB_OP_TARGET_ADD, .element = &e };
	struct nlattr *attr;

	e.comment = comment;
	attr = put(&op);
	value_is(attr, NFTA_SET_ELEM_KEY, sample_key, NB_TARGETS_KEY_LENGTH);
	value_is(attr, NFTA_SET_ELEM_DATA, sample_key + NB_TARGETS_KEY_LENGTH,
		 NB_TARGETS_DATA_LENGTH);
	ck_assert_ptr_null(child(attr, NFTA_SET_ELEM_TIMEOUT));
	ck_assert_ptr_null(child(attr, NFTA_SET_ELEM_EXPR));
	ck_assert_int_eq(nb_element_get(attr, NB_SET_ID_TARGETS, NOW, &again), 0);
	ck_assert_int_eq(nb_element_compare(&again, &sample), 0);
	ck_assert_int_eq(again.expires, 0);
	ck_assert_uint_eq(again.packets, 0);
	ck_assert_str_eq(again.comment, comment);
	ck_assert_ptr_ne(again.comment, comment);
	free(again.comment);
	free(attr);

	op.kind = NB_OP_TARGET_DELETE;
	attr = put(&op);
	value_is(attr, NFTA_SET_ELEM_KEY, sample_key, NB_TARGETS_KEY_LENGTH);
	ck_assert_ptr_null(child(attr, NFTA_SET_ELEM_DATA));
	ck_assert_ptr_null(child(attr, NFTA_SET_ELEM_USERDATA));
	/* so it is no element that could be read */
	again.port = 7;
	ck_assert_int_eq(nb_element_get(attr, NB_SET_ID_TARGETS, NOW, &again), -EBADMSG);
	ck_assert_uint_eq(again.port, 7);
	free(attr);
}
END_TEST

START_TEST(accepted_round_trip)
{
	char comment[] = "runtime/iface:br-app";
	struct nb_element e = sample, again;
	struct nb_op op = { .kind = NB_OP_ACCEPTED_ADD, .element = &e };
	struct nlattr *attr;

	e.comment = comment;
	attr = put(&op);
	value_is(attr, NFTA_SET_ELEM_KEY, sample_key, NB_ACCEPTED_KEY_LENGTH);
	ck_assert_ptr_null(child(attr, NFTA_SET_ELEM_DATA));
	/* the mark of a runtime mapping stands in `targets` alone */
	ck_assert_ptr_null(child(attr, NFTA_SET_ELEM_USERDATA));
	ck_assert_int_eq(nb_element_get(attr, NB_SET_ID_ACCEPTED, NOW, &again), 0);
	ck_assert_int_eq(nb_element_compare(&again, &sample), 0);
	ck_assert_ptr_null(again.comment);
	free(attr);

	op.kind = NB_OP_ACCEPTED_DELETE;
	attr = put(&op);
	value_is(attr, NFTA_SET_ELEM_KEY, sample_key, NB_ACCEPTED_KEY_LENGTH);
	ck_assert_int_eq(nb_element_get(attr, NB_SET_ID_ACCEPTED, NOW, &again), 0);
	ck_assert_int_eq(nb_element_compare(&again, &sample), 0);
	free(attr);
}
END_TEST

START_TEST(timeouts)
{
	static const struct {
		int64_t expires;
		uint64_t timeout; /* 0: none is sent */
	} rows[] = {
		{ 0, 0 },	   { NOW + 1, 1 }, { NOW + 86400000, 86400000 },
		{ NOW, 1 }, /* none would mean for ever */
		{ NOW - 5000, 1 }, { 1, 1 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct nb_element e = sample;
		struct nb_op op = { .kind = i % 2 ? NB_OP_TARGET_ADD : NB_OP_ACCEPTED_ADD,
				    .element = &e };
		const struct nlattr *timeout;
		struct nlattr *attr;

		e.expires = rows[i].expires;
		attr = put(&op);
		timeout = child(attr, NFTA_SET_ELEM_TIMEOUT);
		ck_assert_msg((timeout != NULL) == (rows[i].timeout != 0), "row %zu", i);
		if (timeout)
			ck_assert_uint_eq(be64toh(mnl_attr_get_u64(timeout)), rows[i].timeout);
		free(attr);
	}
}
END_TEST

static void put_key(struct nlmsghdr *header, uint16_t type, const void *bytes, size_t length)
{
	struct nlattr *nest = mnl_attr_nest_start(header, type);

	mnl_attr_put(header, NFTA_DATA_VALUE, length, bytes);
	mnl_attr_nest_end(header, nest);
}

START_TEST(expirations_read)
{
	static const struct {
		uint64_t timeout;    /* 0: without */
		uint64_t expiration; /* UINT64_MAX: without */
		int64_t expires;
	} rows[] = {
		{ 60000, 1500, NOW + 1500 },
		{ 60000, 0, NOW },
		{ 0, 1500, 0 }, /* no timeout of its own: for ever */
		{ 0, UINT64_MAX, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct message message;
		struct nlmsghdr *header = start(&message);
		struct nlattr *nest = mnl_attr_nest_start(header, NFTA_LIST_ELEM);
		struct nb_element again;
		struct nlattr *attr;

		put_key(header, NFTA_SET_ELEM_KEY, sample_key, NB_ACCEPTED_KEY_LENGTH);
		/* in either order */
		if (rows[i].expiration != UINT64_MAX)
			mnl_attr_put_u64(header, NFTA_SET_ELEM_EXPIRATION,
					 htobe64(rows[i].expiration));
		if (rows[i].timeout)
			mnl_attr_put_u64(header, NFTA_SET_ELEM_TIMEOUT, htobe64(rows[i].timeout));
		mnl_attr_nest_end(header, nest);
		attr = take(header);
		ck_assert_int_eq(nb_element_get(attr, NB_SET_ID_ACCEPTED, NOW, &again), 0);
		ck_assert_msg(again.expires == rows[i].expires, "row %zu", i);
		free(attr);
	}
}
END_TEST

START_TEST(counters)
{
	struct nb_element e = sample, again;
	struct nb_op op = { .kind = NB_OP_TARGET_ADD, .element = &e };
	struct nlattr *attr;

	e.packets = UINT64_C(0x0102030405060708);
	e.bytes = UINT64_MAX;
	attr = put(&op);
	ck_assert_int_eq(nb_element_get(attr, NB_SET_ID_TARGETS, NOW, &again), 0);
	ck_assert_uint_eq(again.packets, e.packets);
	ck_assert_uint_eq(again.bytes, e.bytes);
	free(attr);

	/* one of the two is enough to keep them */
	e.packets = 0;
	e.bytes = 1;
	attr = put(&op);
	ck_assert_int_eq(nb_element_get(attr, NB_SET_ID_TARGETS, NOW, &again), 0);
	ck_assert_uint_eq(again.bytes, 1);
	free(attr);

	op.kind = NB_OP_ACCEPTED_ADD;
	e.packets = 2;
	attr = put(&op);
	ck_assert_int_eq(nb_element_get(attr, NB_SET_ID_ACCEPTED, NOW, &again), 0);
	ck_assert_uint_eq(again.packets, 2);
	free(attr);
}
END_TEST

/* An expression that is not a counter has numbers of another meaning. */
START_TEST(other_expressions_ignored)
{
	struct message message;
	struct nlmsghdr *header = start(&message);
	struct nlattr *nest = mnl_attr_nest_start(header, NFTA_LIST_ELEM), *expr, *data, *attr;
	struct nb_element again;

	put_key(header, NFTA_SET_ELEM_KEY, sample_key, NB_ACCEPTED_KEY_LENGTH);
	expr = mnl_attr_nest_start(header, NFTA_SET_ELEM_EXPR);
	mnl_attr_put_strz(header, NFTA_EXPR_NAME, "quota");
	data = mnl_attr_nest_start(header, NFTA_EXPR_DATA);
	mnl_attr_put_u64(header, NFTA_COUNTER_BYTES, htobe64(5));
	mnl_attr_put_u64(header, NFTA_COUNTER_PACKETS, htobe64(5));
	mnl_attr_nest_end(header, data);
	mnl_attr_nest_end(header, expr);
	mnl_attr_nest_end(header, nest);
	attr = take(header);
	ck_assert_int_eq(nb_element_get(attr, NB_SET_ID_ACCEPTED, NOW, &again), 0);
	ck_assert_uint_eq(again.bytes, 0);
	ck_assert_uint_eq(again.packets, 0);
	free(attr);
}
END_TEST

/* Damage */

START_TEST(wrong_lengths)
{
	static const struct {
		enum nb_set_id set;
		size_t key; /* SIZE_MAX: without */
		size_t data;
		int result;
	} rows[] = {
		{ NB_SET_ID_TARGETS, 24, 8, 0 },
		{ NB_SET_ID_TARGETS, SIZE_MAX, 8, -EBADMSG },
		{ NB_SET_ID_TARGETS, 0, 8, -EBADMSG },
		{ NB_SET_ID_TARGETS, 16, 8, -EBADMSG },
		{ NB_SET_ID_TARGETS, 23, 8, -EBADMSG },
		{ NB_SET_ID_TARGETS, 25, 8, -EBADMSG },
		{ NB_SET_ID_TARGETS, 32, 8, -EBADMSG },
		{ NB_SET_ID_TARGETS, 24, SIZE_MAX, -EBADMSG },
		{ NB_SET_ID_TARGETS, 24, 0, -EBADMSG },
		{ NB_SET_ID_TARGETS, 24, 4, -EBADMSG },
		{ NB_SET_ID_TARGETS, 24, 7, -EBADMSG },
		{ NB_SET_ID_TARGETS, 24, 9, -EBADMSG },
		{ NB_SET_ID_TARGETS, 24, 32, -EBADMSG },
		{ NB_SET_ID_ACCEPTED, 32, SIZE_MAX, 0 },
		{ NB_SET_ID_ACCEPTED, SIZE_MAX, SIZE_MAX, -EBADMSG },
		{ NB_SET_ID_ACCEPTED, 24, SIZE_MAX, -EBADMSG },
		{ NB_SET_ID_ACCEPTED, 31, SIZE_MAX, -EBADMSG },
		{ NB_SET_ID_ACCEPTED, 33, SIZE_MAX, -EBADMSG },
		{ NB_SET_ID_ACCEPTED, 64, SIZE_MAX, -EBADMSG },
		{ NB_SET_ID_BRIDGES, 16, SIZE_MAX, 0 },
		{ NB_SET_ID_BRIDGES, SIZE_MAX, SIZE_MAX, -EBADMSG },
		{ NB_SET_ID_BRIDGES, 0, SIZE_MAX, -EBADMSG },
		{ NB_SET_ID_BRIDGES, 15, SIZE_MAX, -EBADMSG },
		{ NB_SET_ID_BRIDGES, 17, SIZE_MAX, -EBADMSG },
	};
	static const uint8_t bytes[64] = "br0";

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct nb_bridge bridge = { .name = "untouched" };
		struct nb_element e = { .port = 7 };
		struct message message;
		struct nlmsghdr *header = start(&message);
		struct nlattr *nest = mnl_attr_nest_start(header, NFTA_LIST_ELEM), *attr;
		int r;

		if (rows[i].key != SIZE_MAX)
			put_key(header, NFTA_SET_ELEM_KEY, bytes, rows[i].key);
		if (rows[i].data != SIZE_MAX)
			put_key(header, NFTA_SET_ELEM_DATA, bytes, rows[i].data);
		/* the comment must not leak when the rest is refused */
		mnl_attr_put(header, NFTA_SET_ELEM_USERDATA, 4, "\0\2c");
		mnl_attr_nest_end(header, nest);
		attr = take(header);
		if (rows[i].set == NB_SET_ID_BRIDGES)
			r = nb_element_get_bridge(attr, &bridge);
		else
			r = nb_element_get(attr, rows[i].set, NOW, &e);
		ck_assert_msg(r == rows[i].result, "row %zu: %d", i, r);
		if (r < 0) {
			ck_assert_uint_eq(e.port, 7);
			ck_assert_str_eq(bridge.name, "untouched");
		}
		free(e.comment);
		free(attr);
	}
}
END_TEST

/* A name that fills its field without a NUL is cut, not read beyond. */
START_TEST(names_are_terminated)
{
	uint8_t key[NB_ACCEPTED_KEY_LENGTH];
	struct nb_element e;
	struct nb_bridge bridge;
	struct message message;
	struct nlmsghdr *header;
	struct nlattr *nest, *attr;

	memset(key, 'x', sizeof(key));
	header = start(&message);
	nest = mnl_attr_nest_start(header, NFTA_LIST_ELEM);
	put_key(header, NFTA_SET_ELEM_KEY, key, NB_ACCEPTED_KEY_LENGTH);
	mnl_attr_nest_end(header, nest);
	attr = take(header);
	ck_assert_int_eq(nb_element_get(attr, NB_SET_ID_ACCEPTED, NOW, &e), 0);
	ck_assert_str_eq(e.bridge, "xxxxxxxxxxxxxxx");
	free(attr);

	header = start(&message);
	nest = mnl_attr_nest_start(header, NFTA_LIST_ELEM);
	put_key(header, NFTA_SET_ELEM_KEY, key, NB_IFNAME_SIZE);
	mnl_attr_nest_end(header, nest);
	attr = take(header);
	ck_assert_int_eq(nb_element_get_bridge(attr, &bridge), 0);
	ck_assert_str_eq(bridge.name, "xxxxxxxxxxxxxxx");
	free(attr);
}
END_TEST

#define USERDATA(bytes) bytes, sizeof(bytes) - 1

/* Anybody who may change the ruleset may write what he likes there. */
START_TEST(hostile_userdata)
{
	static const struct {
		const char *bytes;
		size_t length;
		const char *comment; /* NULL: none is found */
	} rows[] = {
		{ USERDATA("\0\2c\0"), "c" },
		{ USERDATA("\0\1\0"), "" },
		{ USERDATA("\5\1x\0\2c\0"), "c" }, /* behind another one */
		{ USERDATA("\5\0\0\2c\0"), "c" },
		{ USERDATA("\0\0\0\2c\0"), "c" },
		{ USERDATA("\0\2c\0\0\2d\0"), "c" },
		{ USERDATA("\0\5a\0b\0\0"), "a" }, /* ends at the first NUL */
		{ USERDATA(""), NULL },
		{ USERDATA("\0"), NULL },
		{ USERDATA("\0\0"), NULL },
		{ USERDATA("\0\0\0\0"), NULL },
		{ USERDATA("\0\1"), NULL },
		{ USERDATA("\0\2ab"), NULL },  /* not terminated */
		{ USERDATA("\0\3c\0"), NULL }, /* cut off */
		{ USERDATA("\0\xff"
			   "ab"),
		  NULL },
		{ USERDATA("\5\xff"
			   "ab"),
		  NULL },
		{ USERDATA("\5\2a"), NULL },
		{ USERDATA("\1\2c\0"), NULL }, /* another type */
		{ USERDATA("\0\2ab\0\2c\0"), "c" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct nb_element e;
		struct nb_bridge bridge;
		struct message message;
		struct nlmsghdr *header = start(&message);
		struct nlattr *nest = mnl_attr_nest_start(header, NFTA_LIST_ELEM), *attr;

		put_key(header, NFTA_SET_ELEM_KEY, sample_key, NB_ACCEPTED_KEY_LENGTH);
		mnl_attr_put(header, NFTA_SET_ELEM_USERDATA, rows[i].length, rows[i].bytes);
		mnl_attr_nest_end(header, nest);
		attr = take(header);
		ck_assert_int_eq(nb_element_get(attr, NB_SET_ID_ACCEPTED, NOW, &e), 0);
		ck_assert_msg((e.comment != NULL) == (rows[i].comment != NULL), "row %zu", i);
		if (rows[i].comment)
			ck_assert_str_eq(e.comment, rows[i].comment);
		free(e.comment);
		free(attr);

		header = start(&message);
		nest = mnl_attr_nest_start(header, NFTA_LIST_ELEM);
		put_key(header, NFTA_SET_ELEM_KEY, sample_key, NB_IFNAME_SIZE);
		mnl_attr_put(header, NFTA_SET_ELEM_USERDATA, rows[i].length, rows[i].bytes);
		mnl_attr_nest_end(header, nest);
		attr = take(header);
		ck_assert_int_eq(nb_element_get_bridge(attr, &bridge), 0);
		ck_assert_str_eq(bridge.comment, rows[i].comment ? rows[i].comment : "");
		free(attr);
	}
}
END_TEST

/* A comment that is longer than ours ever are. */
START_TEST(long_userdata)
{
	char userdata[2 + 255];
	struct nb_bridge bridge;
	struct nb_element e;
	struct message message;
	struct nlmsghdr *header = start(&message);
	struct nlattr *nest = mnl_attr_nest_start(header, NFTA_LIST_ELEM), *attr;

	memset(userdata, 'c', sizeof(userdata));
	userdata[0] = NFTNL_UDATA_SET_ELEM_COMMENT;
	userdata[1] = (char)255;
	userdata[sizeof(userdata) - 1] = '\0';
	put_key(header, NFTA_SET_ELEM_KEY, sample_key, NB_IFNAME_SIZE);
	mnl_attr_put(header, NFTA_SET_ELEM_USERDATA, sizeof(userdata), userdata);
	mnl_attr_nest_end(header, nest);
	attr = take(header);
	ck_assert_int_eq(nb_element_get_bridge(attr, &bridge), 0);
	ck_assert_uint_eq(strlen(bridge.comment), NB_ELEMENT_COMMENT - 1);
	free(attr);

	header = start(&message);
	nest = mnl_attr_nest_start(header, NFTA_LIST_ELEM);
	put_key(header, NFTA_SET_ELEM_KEY, sample_key, NB_ACCEPTED_KEY_LENGTH);
	mnl_attr_put(header, NFTA_SET_ELEM_USERDATA, sizeof(userdata), userdata);
	mnl_attr_nest_end(header, nest);
	attr = take(header);
	ck_assert_int_eq(nb_element_get(attr, NB_SET_ID_ACCEPTED, NOW, &e), 0);
	ck_assert_uint_eq(strlen(e.comment), 254);
	free(attr);

	/* what is sent is cut to our own length */
	attr = put(&(struct nb_op){ .kind = NB_OP_TARGET_ADD, .element = &e });
	free(e.comment);
	ck_assert_int_eq(nb_element_get(attr, NB_SET_ID_TARGETS, NOW, &e), 0);
	ck_assert_uint_eq(strlen(e.comment), NB_ELEMENT_COMMENT - 1);
	free(e.comment);
	free(attr);
}
END_TEST

/* The script says the same timeout as the message, also of one that has just ended. */
START_TEST(timeouts_printed)
{
	static const struct {
		int64_t expires;
		const char *text; /* NULL: no timeout */
	} rows[] = {
		{ 0, NULL },
		{ NOW + 1500, " timeout 1500ms " },
		{ NOW + 1, " timeout 1ms " },
		{ NOW, " timeout 1ms " },
		{ NOW - 5000, " timeout 1ms " },
	};

	for (size_t i = 0; i < COUNT(rows) * 2; i++) {
		const char *want = rows[i / 2].text;
		struct nb_element e = sample;
		struct nb_op op = { .kind = i % 2 ? NB_OP_TARGET_ADD : NB_OP_ACCEPTED_ADD,
				    .element = &e };
		struct nb_op_list list = { .items = &op, .count = 1 };
		char *text = NULL;
		size_t size;
		FILE *out = open_memstream(&text, &size);

		e.expires = rows[i / 2].expires;
		nb_ops_print(&list, 1, NOW, out);
		fclose(out);
		ck_assert_msg(!strstr(text, want ? want : "timeout") == !want, "%s", text);
		free(text);
	}
}
END_TEST

/* A comment is filled to its last character, and no further. */
START_TEST(comments_fill_their_room)
{
	static const struct {
		int second; /* digits of the second name */
		bool fits;
	} rows[] = { { 55, true }, { 56, true }, { 57, false }, { 58, false }, { 95, false } };

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct {
			char comment[NB_ELEMENT_COMMENT];
			char behind[NB_ELEMENT_COMMENT];
		} room = { .comment = "" };
		struct nb_network first = { .engine = NB_ENGINE_DOCKER }, second = first;

		memset(room.behind, 'x', sizeof(room.behind));
		/* a word of 63 characters, a slash, and "docker:" with the second name */
		memset(first.name, '1', 56);
		memset(second.name, '2', (size_t)rows[i].second);
		nb_comment_add_network(room.comment, &first);
		nb_comment_add_network(room.comment, &second);
		ck_assert_uint_eq(strlen(room.comment),
				  63 + (rows[i].fits ? 8 + rows[i].second : 0));
		ck_assert_int_eq(nb_comment_has_network(room.comment, &second), rows[i].fits);
		ck_assert_int_eq(room.behind[0], 'x');

		nb_comment_set_previous(room.comment, UINT32_MAX);
		ck_assert_uint_eq(nb_comment_previous(room.comment), UINT32_MAX);
		ck_assert(nb_comment_has_network(room.comment, &first));
		ck_assert_int_eq(room.behind[0], 'x');
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ruleset elements");

	unit_add(suite, "set_of_operation", set_of_operation);
	unit_add(suite, "bridge_round_trip", bridge_round_trip);
	unit_add(suite, "target_round_trip", target_round_trip);
	unit_add(suite, "accepted_round_trip", accepted_round_trip);
	unit_add(suite, "timeouts", timeouts);
	unit_add(suite, "expirations_read", expirations_read);
	unit_add(suite, "counters", counters);
	unit_add(suite, "other_expressions_ignored", other_expressions_ignored);
	unit_add(suite, "wrong_lengths", wrong_lengths);
	unit_add(suite, "names_are_terminated", names_are_terminated);
	unit_add(suite, "hostile_userdata", hostile_userdata);
	unit_add(suite, "long_userdata", long_userdata);
	unit_add(suite, "timeouts_printed", timeouts_printed);
	unit_add(suite, "comments_fill_their_room", comments_fill_their_room);
	return unit_run(suite);
}
