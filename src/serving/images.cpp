#include "serving/images.h"

#include <cstdint>
#include <span>

#include "base/error.h"
#include "base/stop.h"
#include "media/image.h"

namespace mlxk {

PromptImages process_images(const ImageProcessor& processor, const std::vector<ImageFile>& files,
                            std::vector<ImageMetadata>* metadata) {
  PromptImages images{processor, {}};
  for (const ImageFile& file : files) {
    check_stop();
    const std::span bytes(reinterpret_cast<const uint8_t*>(file.bytes.data()), file.bytes.size());
    const DecodedImage decoded = decode_image(bytes, file.place);
    if (metadata) metadata->push_back(decoded.metadata);
    try {
      images.images.push_back(processor.process(decoded.image));
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::invalid) throw;
      throw Error(ErrorKind::invalid, file.place + ": " + e.what());
    }
  }
  return images;
}

}  // namespace mlxk
