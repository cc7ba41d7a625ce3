/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lines of a log. */
#include "flow_lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "nat-bridge/plan.h"

/* RFC 3339 with milliseconds, or null. */
static void add_time(cJSON *object, const char *key, int64_t ms)
{
	char seconds[NB_TIME_SIZE], text[NB_TIME_SIZE + 8];

	if (!ms) {
		cJSON_AddNullToObject(object, key);
		return;
	}
	nb_time_format(ms / 1000, seconds);
	snprintf(text, sizeof(text), "%.*s.%03dZ", (int)strcspn(seconds, "Z"), seconds,
		 (int)(ms % 1000));
	cJSON_AddStringToObject(object, key, text);
}

static cJSON *begin_line(const char *event, int64_t time)
{
	cJSON *object = cJSON_CreateObject();

	add_time(object, "time", time);
	nb_json_add_text(object, "event", event);
	return object;
}

static void end_line(struct nb_flow_lines *lines, cJSON *object, const char *text)
{
	uint64_t lost = lines->sink.lost;

	nb_sink_write(&lines->sink, object, text);
	cJSON_Delete(object);
	/* it takes lines again: say what it did not take */
	if (lost && lines->sink.lost == lost) {
		nb_sink_flush(&lines->sink);
		if (lines->sink.lost != lost)
			return;
		lines->sink.lost = 0;
		object = begin_line("lost", nb_now_ms());
		nb_json_add_text(object, "what", "lines");
		nb_json_add_count(object, "count", true, lost);
		nb_sink_write(&lines->sink, object, "lines of the log could not be written");
		cJSON_Delete(object);
		nb_sink_flush(&lines->sink);
		/* it had no room for that, either */
		if (lines->sink.lost)
			lines->sink.lost = lost;
	}
}

static void add_flow(const struct nb_flow_lines *lines, cJSON *object, const struct nb_flow *flow,
		     char *text, size_t size)
{
	const struct nb_tuple *original = &flow->entry.original;
	const struct nb_target target = nb_flow_target(&flow->entry);
	const struct nb_target from = { original->source, original->source_port };
	const struct nb_target at = { original->destination, original->destination_port };
	char source[NB_TARGET_SIZE], dialled[NB_TARGET_SIZE], to[NB_TARGET_SIZE], id[48];

	snprintf(id, sizeof(id), "%s-%" PRIu64, lines->run_name, flow->number);
	nb_target_format(&from, source);
	nb_target_format(&at, dialled);
	nb_target_format(&target, to);
	nb_json_add_text(object, "flow", id);
	nb_json_add_text(object, "network", flow->origin->network);
	nb_json_add_text(object, "bridge", flow->origin->bridge);
	nb_json_add_text(object, "container", flow->origin->container);
	nb_json_add_text(object, "protocol", nb_protocol_name(flow->entry.protocol));
	nb_json_add_text(object, "source", source);
	nb_json_add_text(object, "dialled", dialled);
	nb_json_add_count(object, "port", true, original->destination_port);
	nb_json_add_text(object, "target", to);
	snprintf(text, size, "%s%s%s %s -> %u/%s -> %s", flow->origin->network,
		 flow->origin->container[0] ? " " : "", flow->origin->container, source,
		 original->destination_port, nb_protocol_name(flow->entry.protocol), to);
}

void nb_flow_line_start(struct nb_flow_lines *lines, const struct nb_flow *flow)
{
	/* one that was there before has begun when it began, if anybody knows */
	cJSON *object = begin_line("start", flow->began);
	char words[320], text[360];

	add_flow(lines, object, flow, words, sizeof(words));
	cJSON_AddBoolToObject(object, "resumed", flow->resumed);
	snprintf(text, sizeof(text), "start %s", words);
	end_line(lines, object, text);
}

static const struct {
	const char *reason, *detail;
} reasons[] = {
	[NB_FLOW_CLOSED] = { "closed", NULL },	 [NB_FLOW_REFUSED] = { "closed", "refused" },
	[NB_FLOW_REVOKED] = { "revoked", NULL }, [NB_FLOW_EXPIRED] = { "expired", "mapping" },
	[NB_FLOW_IDLE] = { "expired", "idle" },	 [NB_FLOW_DELETED] = { "unknown", "deleted" },
	[NB_FLOW_UNKNOWN] = { "unknown", NULL },
};

void nb_flow_line_over(struct nb_flow_lines *lines, const char *event, const struct nb_flow *flow,
		       enum nb_flow_reason reason, const struct nb_conntrack_detail *detail)
{
	bool counted = detail && detail->counted;
	int64_t over = flow->over ? flow->over : nb_now_ms();
	cJSON *object = begin_line(event, over);
	char words[320], text[400];

	add_flow(lines, object, flow, words, sizeof(words));
	add_time(object, "began", flow->began);
	if (flow->began)
		cJSON_AddNumberToObject(object, "duration",
					(double)(over > flow->began ? over - flow->began : 0) /
						1000);
	else
		cJSON_AddNullToObject(object, "duration");
	nb_json_add_count(object, "packets_in", counted, counted ? detail->packets[0] : 0);
	nb_json_add_count(object, "bytes_in", counted, counted ? detail->bytes[0] : 0);
	nb_json_add_count(object, "packets_out", counted, counted ? detail->packets[1] : 0);
	nb_json_add_count(object, "bytes_out", counted, counted ? detail->bytes[1] : 0);
	nb_json_add_text(object, "reason", reasons[reason].reason);
	nb_json_add_text(object, "detail", reasons[reason].detail);
	snprintf(text, sizeof(text), "%s %s: %s", event, words, reasons[reason].reason);
	end_line(lines, object, text);
}

void nb_flow_line_lost(struct nb_flow_lines *lines, const char *why)
{
	cJSON *object = begin_line("lost", nb_now_ms());

	nb_json_add_text(object, "what", "events");
	nb_json_add_text(object, "why", why);
	end_line(lines, object, "events were lost: connections may be missing in this log");
}

void nb_flow_line_refused(struct nb_flow_lines *lines, const struct nb_refusal *row,
			  uint64_t packets, uint64_t bytes)
{
	cJSON *object = begin_line("refused", nb_now_ms());

	nb_json_add_text(object, "where", row->where);
	nb_json_add_text(object, "bridge", row->bridge);
	nb_json_add_count(object, "packets", true, packets);
	nb_json_add_count(object, "bytes", row->bytes_known, bytes);
	end_line(lines, object, "packets to 127.0.0.0/8 were refused");
}

void nb_flow_line_frame(struct nb_flow_lines *lines, const char *event, size_t flows,
			bool accounting)
{
	cJSON *object = begin_line(event, nb_now_ms());

	nb_json_add_count(object, "flows", true, flows);
	cJSON_AddBoolToObject(object, "accounting", accounting);
	end_line(lines, object, event);
}
