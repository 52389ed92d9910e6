#include "embed/vector_output.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/error.h"
#include "json/api.h"
#include "json/floats.h"
#include "terminal/output.h"

namespace mlxk {

namespace {

namespace fs = std::filesystem;

std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json list_of(const std::vector<float>& numbers) {
  Json list = Json::array();
  for (const float number : numbers) list.push_back(as_written(number));
  return list;
}

class JsonLinesOutput : public VectorOutput {
 public:
  explicit JsonLinesOutput(const Json& metadata) : metadata_(dump(metadata)) {}

  void add(const Json& fields, const TextVectors& vectors) override {
    Json rest = fields;
    for (const char* own : {"embedding", "sparse_embedding", "embeddings", "predictions", "metadata"}) rest.erase(own);
    std::string line = dump(rest);
    line.pop_back();
    const auto key = [&](const char* name) {
      if (line.back() != '{') line += ',';
      line += fmt::format("\"{}\":", name);
    };
    if (vectors.vector) {
      key("embedding");
      append_floats(line, *vectors.vector);
    }
    if (vectors.sparse) {
      key("sparse_embedding");
      line += fmt::format("{{\"indices\":[{}],\"values\":", fmt::join(vectors.sparse->ids, ","));
      append_floats(line, vectors.sparse->weights);
      line += '}';
    }
    if (vectors.tokens) {
      key("embeddings");
      line += '[';
      for (const auto& vector : *vectors.tokens) {
        if (line.back() != '[') line += ',';
        append_floats(line, vector);
      }
      line += ']';
    }
    if (!vectors.predictions.is_null()) {
      key("predictions");
      line += dump(vectors.predictions);
    }
    key("metadata");
    line += metadata_ + "}\n";
    std::fwrite(line.data(), 1, line.size(), stdout);
  }
  void finish() override { std::fflush(stdout); }

 private:
  std::string metadata_;
};

class EnvelopeOutput : public VectorOutput {
 public:
  explicit EnvelopeOutput(Json metadata) : metadata_(std::move(metadata)) {}

  void add(const Json& fields, const TextVectors& vectors) override {
    Json record = fields;
    if (vectors.vector) record["embedding"] = list_of(*vectors.vector);
    if (vectors.sparse) {
      record["sparse_embedding"] = {{"indices", vectors.sparse->ids}, {"values", list_of(vectors.sparse->weights)}};
    }
    if (vectors.tokens) {
      Json& list = record["embeddings"] = Json::array();
      for (const auto& vector : *vectors.tokens) list.push_back(list_of(vector));
    }
    if (!vectors.predictions.is_null()) record["predictions"] = vectors.predictions;
    record["metadata"] = metadata_;
    records_.push_back(std::move(record));
  }
  void finish() override { print_json(success_envelope("embed", {{"records", std::move(records_)}})); }

 private:
  Json metadata_;
  Json records_ = Json::array();
};

/// Version 1.0 of the format: a header of fixed size that is written last, when the number of rows is known.
class NpyOutput : public VectorOutput {
 public:
  explicit NpyOutput(const std::string& path) : path_(path), part_(path + ".partial") {
    file_.open(part_, std::ios::binary | std::ios::trunc);
    file_ << std::string(kHeader, ' ');
    check();
  }
  ~NpyOutput() override {
    std::error_code ignored;
    if (file_.is_open()) fs::remove(part_, ignored);
  }

  void add(const Json&, const TextVectors& vectors) override {
    const std::vector<float>& vector = vectors.vector.value();
    width_ = vector.size();
    ++rows_;
    std::string bytes;
    for (const float number : vector) {
      const auto bits = std::bit_cast<uint32_t>(number);
      for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift & 0xFF);
    }
    file_ << bytes;
    check();
  }

  void finish() override {
    std::string text = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows_, width_);
    text.resize(kHeader - kMagic.size() - 2, ' ');
    text.back() = '\n';
    file_.seekp(0);
    file_ << kMagic << static_cast<char>(text.size() & 0xFF) << static_cast<char>(text.size() >> 8) << text;
    file_.flush();
    check();
    file_.close();
    std::error_code error;
    fs::rename(part_, path_, error);
    if (error) throw Error(ErrorKind::io, fmt::format("cannot write {}: {}", path_, error.message()));
  }

 private:
  static constexpr std::string_view kMagic{"\x93NUMPY\x01\x00", 8};
  static constexpr size_t kHeader = 128;

  void check() const {
    if (!file_) throw Error(ErrorKind::io, fmt::format("cannot write {}", part_));
  }

  std::string path_, part_;
  std::ofstream file_;
  size_t rows_ = 0, width_ = 0;
};

}  // namespace

std::unique_ptr<VectorOutput> json_lines_output(Json metadata) { return std::make_unique<JsonLinesOutput>(metadata); }

std::unique_ptr<VectorOutput> envelope_output(Json metadata) {
  return std::make_unique<EnvelopeOutput>(std::move(metadata));
}

std::unique_ptr<VectorOutput> npy_output(const std::string& path) { return std::make_unique<NpyOutput>(path); }

}  // namespace mlxk
